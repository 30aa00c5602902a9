"""One process of `manage.py gateway`: the data plane alone, on a port that the parent has opened.

When told to go it takes no new connection, and each answer tells its caller that the connection closes; a connection that is
idle is left open until its caller must expect it to close. So nobody is cut off in the middle of asking.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable
from types import FrameType
from typing import Any

import uvicorn

from serving_ui.start.protocol import Protocol

KEEP_ALIVE_SECONDS = 5  # an idle connection is closed after this, as its caller can know from other servers
LOOK_SECONDS = 0.02
UNCONSIDERED = 1  # seconds for what is still running when all patience is over


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
    signal.signal(signal.SIGTERM, _leave)  # before the server listens for it, and after it has gone
    listener = socket.socket(fileno=given.listen)
    application = GatewayAlone(is_successor=given.successor)
    # Until the database says how many there are: without it and Redis, each would admit all that a limit allows.
    application.data_plane.holder.standing = (given.place, given.workers)
    DrainingServer(application, ready=given.ready, drain_seconds=given.drain_seconds).run(sockets=[listener])


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


class GatewayAlone:
    """The data plane as a whole application: any other path is unknown here."""

    def __init__(self, *, is_successor: bool) -> None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")
        import django

        django.setup()
        from serving_ui.data_plane import DataPlane, answer

        self.data_plane = DataPlane()
        self.is_wanted = True
        self._answer = answer
        self._is_successor = is_successor

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.data_plane.lifespan(receive, self._once_ready(send))
        if self.data_plane.is_draining:
            send = _saying_goodbye(send)
        answering: Awaitable[None] | None = self.data_plane(scope, receive, send)
        if answering is not None:
            return answering
        message = "This is a gateway alone. It answers queries under /serving-endpoints; pages and API are elsewhere."
        return self._answer(send, 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": message})

    def _once_ready(self, send: Any) -> Any:
        """A successor takes no caller before it can serve. The first ones say at once what they wait for."""

        async def say(message: dict[str, Any]) -> None:
            while self._is_successor and self.is_wanted and not self.data_plane.is_ready:
                await asyncio.sleep(LOOK_SECONDS)
            await send(message)

        return say


def _saying_goodbye(send: Any) -> Any:
    async def say(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return say


class DrainingServer(uvicorn.Server):
    """Says when it is ready, and drains before it ends."""

    def __init__(self, application: GatewayAlone, *, ready: int, drain_seconds: int) -> None:
        self._application = application
        self._ready: int | None = ready
        self._drain_seconds = drain_seconds
        super().__init__(
            uvicorn.Config(
                application,
                loop="uvloop",
                http=Protocol,
                interface="asgi3",
                ws="none",
                proxy_headers=False,
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=UNCONSIDERED,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._application.is_wanted = False
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._ready is not None and self._application.data_plane.is_ready:
            os.write(self._ready, b"!")
            os.close(self._ready)
            self._ready = None
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._application.data_plane.is_draining = True
        await self._drain()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Until every connection has been told, or has been idle for long enough, or patience is over."""
        began = time.monotonic()
        while self.server_state.connections and not self.force_exit:
            waited = time.monotonic() - began
            if waited > self._drain_seconds:
                return
            if waited > KEEP_ALIVE_SECONDS + 1:  # those that never asked anything have no time of their own
                for connection in [each for each in self.server_state.connections if _is_idle(each)]:
                    connection.shutdown()
            await asyncio.sleep(LOOK_SECONDS)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete


if __name__ == "__main__":
    main(sys.argv[1:])
