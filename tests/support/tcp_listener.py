"""Serves the connections of a listening socket, each in its own thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.support.waiting import DEADLINE


@contextmanager
def serve_connections(listener: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Calls `serve` with each new connection until the context ends, and closes the listener then."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE)
