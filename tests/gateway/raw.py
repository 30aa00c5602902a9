"""A server that answers with exactly the bytes it is told to, for what no proper server would send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

_END = b"\r\n\r\n"


@dataclass
class RawServer:
    """`answer` sets the bytes; `requests` are what came in, `left` counts the connections that have ended. It hangs up on a connection's request number `most` and one."""

    port: int
    host: str = "127.0.0.1"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    left: int = 0
    most: int = 1_000_000
    _bytes: bytes = b""
    _close: bool = True
    _later: tuple[bytes, ...] = ()
    _pause: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def answer(self, content: bytes, *, close: bool = True, later: tuple[bytes, ...] = ()) -> None:
        """`later` are parts that follow, each after a sixth of a second."""
        self._bytes, self._close, self._later = content, close, later

    def talk(self, connection: socket.socket) -> None:
        """Read one request after another, and answer each with the same bytes."""
        self.connections += 1
        try:
            self._talk(connection)
        finally:
            self.left += 1

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for number in count(1):
                request = _read(connection)
                self.requests += [request] if request else []
                if not request or number > self.most:
                    return
                *before, last = (self._bytes, *self._later)
                for part in before:
                    connection.sendall(part)
                    self._pause.wait(1 / 6)
                if self._close:  # nobody sees the answer and not yet the end
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                connection.sendall(last)
                if self._close:
                    return


def _read(connection: socket.socket) -> bytes:
    content = b""
    while _END not in content:
        portion = connection.recv(65536)
        if not portion:
            return b""
        content += portion
    head, _, body = content.partition(_END)
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

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=server.talk, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
