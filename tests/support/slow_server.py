"""A provider that sends one byte of its reply every two seconds, until the client disconnects or the test lets it answer."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.tcp_listener import serve_connections
from tests.support.waiting import DEADLINE, wait_until

SECONDS_PER_BYTE = 2.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
_END = b"\r\n{}"


@dataclass
class SlowServer:
    """`open` is the number of requests without a complete reply now, `max_open` the largest such number so far."""

    port: int
    request_count: int = 0
    open: int = 0
    max_open: int = 0
    _answers: threading.Event = field(default_factory=threading.Event, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self) -> None:
        """Complete all replies immediately from now on."""
        self._answers.set()

    def wait_for(self, count: int, *, seconds: float = DEADLINE) -> None:
        """Wait until `count` requests are open."""
        wait_until(lambda: self.open == count, seconds=seconds)

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if not connection.recv(65536):
                return
            with self._lock:
                self.request_count += 1
                self.open += 1
                self.max_open = max(self.max_open, self.open)
            try:
                self._send_slowly(connection)
            finally:
                with self._lock:
                    self.open -= 1

    def _send_slowly(self, connection: socket.socket) -> None:
        left = _HEAD + b"x-slow: " + b"y" * 600 + _END
        while left and not self._answers.is_set():
            connection.sendall(left[:1])
            left = left[1:]
            for _ in range(int(SECONDS_PER_BYTE / 0.05)):
                if self._answers.wait(0.02):
                    break
                readable, _, _ = select.select([connection], [], [], 0.03)
                if readable and not connection.recv(1, socket.MSG_PEEK):
                    return
        connection.sendall(left)


@contextmanager
def slow_server() -> Iterator[SlowServer]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = SlowServer(listener.getsockname()[1])
    with serve_connections(listener, server.serve):
        try:
            yield server
        finally:
            server.answer()
