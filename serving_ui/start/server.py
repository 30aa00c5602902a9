"""The server of `up`: pages, API and gateway in one process. `python -m serving_ui.start.server --host H --port P`."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from serving_ui.start.protocol import Careful

DRAIN_SECONDS = 3


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    uvicorn.run(
        "serving_ui.asgi:application",
        host=given.host,
        port=given.port,
        loop="uvloop",
        http=Careful,
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
