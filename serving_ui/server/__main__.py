"""Pages, API and gateway in one process: `python -m serving_ui.server --host H --port P`.

`up` runs it with `--listen`, on sockets that `up` has opened. Tables, static files and keys must exist.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Awaitable
from typing import Any

from serving_ui.bootstrap.errors import StartError
from serving_ui.lib.env import EnvError
from serving_ui.processes.programs import DRAIN_SECONDS
from serving_ui.server import address, ports

IDLE_SECONDS = 0.2  # no other process takes over, so there is no reason to keep idle connections open


def main() -> None:
    """Exits with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="serving_ui.server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--listen", type=int, action="append", help="file descriptor of a listening socket")
    parser.add_argument(
        "--drain-seconds",
        type=int,
        default=DRAIN_SECONDS,
        help="seconds that it has to finish running requests before it ends (%(default)s)",
    )
    options = parser.parse_args()
    if options.port is None and not options.listen:
        parser.error("the following arguments are required: --port")
    try:
        _run(options)
    except (EnvError, StartError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:  # uvicorn raises it after a graceful end
        return


def _run(options: argparse.Namespace) -> None:
    listen_on = address.ListenAddress(host=options.host, port=options.port)
    if options.port is not None:
        address.export(listen_on)
    from serving_ui.asgi import application, gateway_service
    from serving_ui.server.draining import DrainingServer, exit_on_sigterm, with_connection_close

    def answer(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return application(
            scope, receive, with_connection_close(send) if gateway_service.is_draining else send
        )

    exit_on_sigterm()
    if options.listen:
        sockets = [socket.socket(fileno=each) for each in options.listen]
    else:
        sockets = ports.open_all(listen_on)
    DrainingServer(
        answer, gateway_service, drain_seconds=options.drain_seconds, idle_seconds=IDLE_SECONDS
    ).run(sockets=sockets)


if __name__ == "__main__":
    main()
