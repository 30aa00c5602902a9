"""A provider that takes a question and then sends one byte each two seconds, until whoever asked hangs up or it is told to answer."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.servers import DEADLINE, wait_until

SECONDS = 2.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
_REST = b"\r\n{}"


@dataclass
class Dripping:
    """`asked` counts the questions; `open` are those that are being answered at this moment, `most` how many they ever were."""

    port: int
    asked: int = 0
    open: int = 0
    most: int = 0
    _answers: threading.Event = field(default_factory=threading.Event, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self) -> None:
        """From now on it answers at once."""
        self._answers.set()

    def wait_for(self, count: int, *, seconds: float = DEADLINE) -> None:
        """Until so many questions are open."""
        wait_until(lambda: self.open == count, seconds=seconds)

    def talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if not connection.recv(65536):
                return
            with self._lock:
                self.asked += 1
                self.open += 1
                self.most = max(self.most, self.open)
            try:
                self._drip(connection)
            finally:
                with self._lock:
                    self.open -= 1

    def _drip(self, connection: socket.socket) -> None:
        left = _HEAD + b"x-slow: " + b"y" * 600 + _REST
        while left and not self._answers.is_set():
            connection.sendall(left[:1])
            left = left[1:]
            for _ in range(int(SECONDS / 0.05)):
                if self._answers.wait(0.02):
                    break
                readable, _, _ = select.select([connection], [], [], 0.03)
                if readable and not connection.recv(1, socket.MSG_PEEK):
                    return
        connection.sendall(left)


@contextmanager
def dripping() -> Iterator[Dripping]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = Dripping(listener.getsockname()[1])

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
        server.answer()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE)
