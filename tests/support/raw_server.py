"""A server that answers with exactly the bytes that a test sets, valid HTTP or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from tests.support.tcp_listener import serve_connections

_END_OF_HEAD = b"\r\n\r\n"


@dataclass
class RawServer:
    """`answer` sets the bytes. `requests` are those received, `closed` counts the connections that have ended.

    A connection is closed after `max_requests` requests.
    """

    port: int
    host: str = "127.0.0.1"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    max_requests: int = 1_000_000
    _bytes: bytes = b""
    _close: bool = True
    _later: tuple[bytes, ...] = ()
    _pause: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def answer(self, content: bytes, *, close: bool = True, later: tuple[bytes, ...] = ()) -> None:
        """The reply to every request from now on. The parts in `later` follow it, each after a sixth of a second."""
        self._bytes, self._close, self._later = content, close, later

    def serve(self, connection: socket.socket) -> None:
        """Read one request after another, and answer each with the same bytes."""
        self.connections += 1
        try:
            self._serve(connection)
        finally:
            self.closed += 1

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for number in count(1):
                request = _read(connection)
                self.requests += [request] if request else []
                if not request or number > self.max_requests:
                    return
                *before, last = (self._bytes, *self._later)
                for part in before:
                    connection.sendall(part)
                    self._pause.wait(1 / 6)
                if self._close:  # the answer and the end of the connection arrive together
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                connection.sendall(last)
                if self._close:
                    return


def _read(connection: socket.socket) -> bytes:
    content = b""
    while _END_OF_HEAD not in content:
        portion = connection.recv(65536)
        if not portion:
            return b""
        content += portion
    head, _, body = content.partition(_END_OF_HEAD)
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = (int(lengths[0].partition(b":")[2]) if lengths else 0) - len(body)
    while missing > 0:
        portion = connection.recv(65536)
        content += portion
        missing -= len(portion)
    return content


@contextmanager
def raw_server(host: str = "127.0.0.1") -> Iterator[RawServer]:
    listener = socket.create_server((host, 0))
    server = RawServer(listener.getsockname()[1], host)
    with serve_connections(listener, server.serve):
        yield server
