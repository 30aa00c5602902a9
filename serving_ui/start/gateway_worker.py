"""One process of `manage.py gateway`: the data plane alone, on a port that the parent has opened.

How it ends is in draining.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable
from typing import Any

from serving_ui.lib.env import EnvError

LOOK_SECONDS = 0.02


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True, help="the open port, as a file")
    parser.add_argument("--ready", type=int, required=True, help="the file that hears when this is ready")
    parser.add_argument("--successor", action="store_true", help="callers rather wait than be refused")
    # Not required: SIGHUP starts a newer version of this program from an older parent.
    parser.add_argument("--place", type=int, default=0, help="which of the workers this is, from 0")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--drain-seconds", type=int, required=True)
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except EnvError as problem:
        sys.exit(str(problem))


def _run(given: argparse.Namespace) -> None:
    application = GatewayAlone(is_successor=given.successor)
    from serving_ui.start.draining import KEEP_ALIVE_SECONDS, DrainingServer, leave_on_sigterm

    leave_on_sigterm()
    # Until the database says how many there are: without it and Redis, each would admit all that a limit allows.
    application.data_plane.holder.standing = (given.place, given.workers)
    server = DrainingServer(
        application,
        application.data_plane,
        ready=given.ready,
        drain_seconds=given.drain_seconds,
        idle_seconds=KEEP_ALIVE_SECONDS + 1,
    )
    server.run(sockets=[socket.socket(fileno=given.listen)])


class GatewayAlone:
    """The data plane as a whole application: any other path is unknown here."""

    def __init__(self, *, is_successor: bool) -> None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")
        import django

        django.setup()
        from serving_ui.data_plane import DataPlane, answer, refused
        from serving_ui.start.draining import say_goodbye

        self.data_plane = DataPlane()
        self._answer, self._refused = answer, refused
        self._say_goodbye = say_goodbye
        self._is_successor = is_successor

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.data_plane.lifespan(receive, self._once_ready(send))
        if self.data_plane.is_draining:
            send = self._say_goodbye(send)
        if "refusal" in scope:
            return self._answer(send, 400, self._refused(scope["refusal"]))
        answering: Awaitable[None] | None = self.data_plane(scope, receive, send)
        if answering is not None:
            return answering
        message = "This is a gateway alone. It answers queries under /serving-endpoints; pages and API are elsewhere."
        return self._answer(send, 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": message})

    def _once_ready(self, send: Any) -> Any:
        """A successor takes no caller before it can serve. The first ones say at once what they wait for."""

        async def say(message: dict[str, Any]) -> None:
            while self._is_successor and not (self.data_plane.is_ready or self.data_plane.is_draining):
                await asyncio.sleep(LOOK_SECONDS)
            await send(message)

        return say


if __name__ == "__main__":
    main(sys.argv[1:])
