"""Pages, API and gateway in one process: `python -m serving_ui.start.server --host H --port P`.

`up` runs it on sockets of its own, and has made what it needs: the tables, the static files, the keys.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Awaitable
from typing import Any

from serving_ui.bootstrap.errors import StartError
from serving_ui.lib.env import EnvError
from serving_ui.start import options, port
from serving_ui.start.processes import DRAIN_SECONDS

BACKLOG = 2048
IDLE_SECONDS = 0.2  # nobody takes its place: whoever asks later is refused anyway


def main() -> None:
    """Ends with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="serving_ui.start.server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--listen", type=int, action="append", help="an open port, as a file")
    parser.add_argument(
        "--drain-seconds",
        type=int,
        default=DRAIN_SECONDS,
        help="how long it may finish what it answers when told to end (%(default)s)",
    )
    given = parser.parse_args()
    if given.port is None and not given.listen:
        parser.error("the following arguments are required: --port")
    try:
        _run(given)
    except (EnvError, StartError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:  # uvicorn passes it on once everything has ended
        return


def _run(given: argparse.Namespace) -> None:
    if given.port is not None:
        options.announce(options.Options(host=given.host, port=given.port))
    from serving_ui.asgi import application, data_plane
    from serving_ui.start.draining import DrainingServer, leave_on_sigterm, say_goodbye

    def answer(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return application(scope, receive, say_goodbye(send) if data_plane.is_draining else send)

    leave_on_sigterm()
    if given.listen:
        sockets = [socket.socket(fileno=each) for each in given.listen]
    else:
        sockets = port.opened_everywhere(options.Options(host=given.host, port=given.port), backlog=BACKLOG)
    DrainingServer(answer, data_plane, drain_seconds=given.drain_seconds, idle_seconds=IDLE_SECONDS).run(
        sockets=sockets
    )


if __name__ == "__main__":
    main()
