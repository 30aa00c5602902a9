"""A server that finishes what it answers before it ends, of `up` and of `manage.py gateway` alike.

When told to go it takes no new connection, and each answer tells its caller that the connection closes. A connection that is idle may
be left open for a while, until its caller must expect it to close: so nobody is cut off in the middle of asking.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn

from serving_ui.data_plane import DataPlane
from serving_ui.start.liveness import Sign
from serving_ui.start.protocol import Protocol

KEEP_ALIVE_SECONDS = 5  # an idle connection is closed after this, as its caller can know from other servers
LOOK_SECONDS = 0.02
LAST_SECONDS = 1  # for what was cut off to notice


class DrainingServer(uvicorn.Server):
    """Gives signs of life from its event loop, says when it is ready, and drains before it ends.

    `ready` is the file that hears of the first; `idle_seconds` is how long idle connections are left open while it drains.
    """

    def __init__(
        self,
        application: Any,
        data_plane: DataPlane,
        *,
        drain_seconds: int,
        idle_seconds: float,
        ready: int | None = None,
    ) -> None:
        self._data_plane = data_plane
        self._drain_seconds = drain_seconds
        self._idle_seconds = idle_seconds
        self._ready = ready
        self._sign = Sign()
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
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._data_plane.is_draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        self._sign.give()
        if self._ready is not None and self._data_plane.is_ready:
            os.write(self._ready, b"!")
            os.close(self._ready)
            self._ready = None
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._drain()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Until every connection has been told, or has been idle for long enough, or the time is over."""
        began = time.monotonic()
        while self.server_state.connections and not self.force_exit:
            self._sign.give()
            waited = time.monotonic() - began
            if waited > self._drain_seconds:
                self._cut_off()
                return
            if waited > self._idle_seconds:  # those that never asked anything have no time of their own
                for connection in [each for each in self.server_state.connections if _is_idle(each)]:
                    connection.shutdown()
            await asyncio.sleep(LOOK_SECONDS)

    def _cut_off(self) -> None:
        left: list[Any] = [each for each in self.server_state.connections if not _is_idle(each)]
        for connection in left:
            connection.transport.abort()
        if left:
            print(
                f"Answers that still ran after {self._drain_seconds} s and were cut off: {len(left)}.",
                file=sys.stderr,
                flush=True,
            )


def say_goodbye(send: Any) -> Any:
    """For an answer while the server drains: the caller learns that the connection closes."""

    async def say(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return say


def leave_on_sigterm() -> None:
    """Before the server listens for the signal, and after it has gone."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete
