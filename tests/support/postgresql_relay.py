"""A TCP relay in front of PostgreSQL that breaks connections at a chosen step."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SSL, GSS = 80877103, 80877104
ROUND_TRIPS = (
    b"QS"  # a simple query, or the end of an extended one: the server answers each with ReadyForQuery
)


@dataclass
class Cut:
    """Breaks a connection at round trip number `step` (from 1): before the request reaches the server, or, with `executed`,
    after the server has executed it and before the client gets the answer."""

    step: int
    executed: bool
    was_made: bool = False


@dataclass
class PostgresqlRelay:
    """The relay. `url` is the address of the database through it."""

    url: str
    target: tuple[str, int]
    _listener: socket.socket = field(repr=False)
    _cut: Cut | None = None

    @contextlib.contextmanager
    def cut_next_connection(self, cut: Cut) -> Iterator[None]:
        """Cut the next connection that is opened within the block."""
        self._cut = cut
        yield
        self._cut = None

    def run(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            cut, self._cut = self._cut, None
            threading.Thread(target=self._serve, args=(client, cut), daemon=True).start()

    def _serve(self, client: socket.socket, cut: Cut | None) -> None:
        with client, socket.create_connection(self.target) as server, contextlib.suppress(OSError):
            answers = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            reader = client.makefile("rb")
            _begin(reader, client, server)
            if cut is None:
                answers.start()
            for steps, message in _round_trips(reader):
                if cut and steps == cut.step:
                    cut.was_made = True
                    if cut.executed:
                        server.sendall(message)
                        _read_until_ready(server)
                    break
                server.sendall(message)
                if cut:
                    client.sendall(_read_until_ready(server))
            for each in (client, server):
                each.shutdown(socket.SHUT_RDWR)
            if cut is None:
                answers.join()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
            sink.shutdown(socket.SHUT_RDWR)


def _begin(reader: object, client: socket.socket, server: socket.socket) -> None:
    """Relay the startup messages, which have no type byte: refuse SSL and GSS encryption, pass on the startup message."""
    while True:
        head = _read(reader, 8)
        length, code = struct.unpack(">II", head)
        if code not in (SSL, GSS):
            server.sendall(head + _read(reader, length - 8))
            client.sendall(_read_until_ready(server))
            return
        client.sendall(b"N")


def _round_trips(reader: object) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each round trip of the client."""
    steps, message = 0, b""
    while True:
        try:
            head = _read(reader, 5)
            message += head + _read(reader, struct.unpack(">I", head[1:])[0] - 4)
        except EOFError:
            return
        if head[:1] in [bytes([each]) for each in ROUND_TRIPS]:
            steps += 1
            yield steps, message
            message = b""


def _read(reader: object, size: int) -> bytes:
    content: bytes = reader.read(size)  # type: ignore[attr-defined]
    if len(content) < size:
        raise EOFError
    return content


def _read_until_ready(server: socket.socket) -> bytes:
    """All bytes of the server up to and including ReadyForQuery."""
    received, at = b"", 0
    while True:
        while len(received) >= at + 5:
            kind, length = received[at : at + 1], struct.unpack(">I", received[at + 1 : at + 5])[0]
            if len(received) < at + 1 + length:
                break
            at += 1 + length
            if kind == b"Z":
                return received
        content = server.recv(65536)
        if not content:
            raise OSError("the server closed the connection")
        received += content


@contextlib.contextmanager
def running_relay(url: str) -> Iterator[PostgresqlRelay]:
    """Run a relay in front of the database at `url`."""
    parts = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    target = (parts.hostname or "127.0.0.1", parts.port or 5432)
    relayed = parts._replace(netloc=f"{parts.username}@127.0.0.1:{listener.getsockname()[1]}").geturl()
    relay = PostgresqlRelay(relayed, target, listener)
    threading.Thread(target=relay.run, daemon=True).start()
    try:
        yield relay
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
