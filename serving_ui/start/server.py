"""Pages, API and gateway in one process: `python -m serving_ui.start.server --host H --port P`.

`up` runs it and has made what it needs: the tables, the static files, the keys.
"""

from __future__ import annotations

import argparse

import uvicorn

from serving_ui.start.protocol import Protocol

_PATIENCE = 3  # seconds for what is still being answered when it is told to go


def main() -> None:
    parser = argparse.ArgumentParser(prog="serving_ui.start.server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    given = parser.parse_args()
    uvicorn.run(
        "serving_ui.asgi:application",
        host=given.host,
        port=given.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
    )


if __name__ == "__main__":
    main()
