"""A uvicorn server that finishes its requests before it ends, for `up` and `manage.py gateway`.

After SIGTERM it accepts no connection, and each response carries `Connection: close`. Idle connections stay open for `idle_seconds`:
a client may be about to send its next request on one of them.
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

from serving_ui.gateway_service import GatewayService
from serving_ui.processes.liveness import Heartbeat
from serving_ui.server.protocol import Protocol

KEEP_ALIVE_SECONDS = 5  # uvicorn's default, which clients expect
POLL_SECONDS = 0.02
ABORT_SECONDS = 1  # for the tasks of aborted connections to end


class DrainingServer(uvicorn.Server):
    """Sends heartbeats from its event loop, reports when it is ready, and drains before it ends.

    `ready` is the file descriptor to which it writes a byte once it is ready.
    """

    def __init__(
        self,
        application: Any,
        gateway_service: GatewayService,
        *,
        drain_seconds: int,
        idle_seconds: float,
        ready: int | None = None,
    ) -> None:
        self._gateway_service = gateway_service
        self._drain_seconds = drain_seconds
        self._idle_seconds = idle_seconds
        self._ready = ready
        self._heartbeat = Heartbeat()
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
                timeout_graceful_shutdown=ABORT_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway_service.is_draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        self._heartbeat.send()
        if self._ready is not None and self._gateway_service.is_ready:
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
        """Wait until all connections are closed; abort those with a running request after `drain_seconds`."""
        began = time.monotonic()
        while self.server_state.connections and not self.force_exit:
            self._heartbeat.send()
            waited = time.monotonic() - began
            if waited > self._drain_seconds:
                self._abort_connections()
                return
            if (
                waited > self._idle_seconds
            ):  # connections that have not sent a request have no keep-alive deadline
                for connection in [each for each in self.server_state.connections if _is_idle(each)]:
                    connection.shutdown()
            await asyncio.sleep(POLL_SECONDS)

    def _abort_connections(self) -> None:
        left: list[Any] = [each for each in self.server_state.connections if not _is_idle(each)]
        for connection in left:
            connection.transport.abort()
        if left:
            print(
                f"Requests that were still running after {self._drain_seconds} s and were aborted: {len(left)}.",
                file=sys.stderr,
                flush=True,
            )


def with_connection_close(send: Any) -> Any:
    """Wrap ASGI's `send`, so that the response tells the client that the connection closes."""

    async def send_with_header(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_with_header


def exit_on_sigterm() -> None:
    """Exit on SIGTERM while uvicorn's own handler is not installed: before it starts and after it has ended."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete
