"""Answers are the same however few calls they are sent with."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from serving_ui.start import protocol
from serving_ui.start.protocol import JoinedWrites, Protocol
from tests.support.servers import Running, serve

LARGE = b"x" * 1_000_000


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    bodies = {
        "/whole": [b"whole"], "/parts": [b"one", b"two", b"three"], "/large": [LARGE], "/huge": [LARGE * 20], "/empty": [b""],
        "/like-a-head": [b"HTTP/1.1 200 OK\r\n\r\n"],
    }[scope["path"]]  # fmt: skip
    headers = [(b"connection", b"close")] if scope["query_string"] == b"close" else []
    if len(bodies) == 1:
        headers.append((b"content-length", b"%d" % len(bodies[0])))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for left, body in zip(range(len(bodies) - 1, -1, -1), bodies, strict=True):
        await send({"type": "http.response.body", "body": body, "more_body": left > 0})


@pytest.fixture
def server() -> Iterator[Running]:
    with serve(app, http=Protocol) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/whole", b"whole"),
        ("/parts", b"onetwothree"),
        ("/large", LARGE),
        ("/empty", b""),
        ("/like-a-head", b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_answers_come_whole_on_one_connection_and_on_one_that_closes(server: Running, path: str, body: bytes):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for address in (path, path, f"{path}?close"):
        connection.request("GET", address)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, body)
    connection.request("HEAD", "/whole")
    assert connection.getresponse().read() == b""
    connection.close()


class Sent(asyncio.Transport):
    """What a transport was told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append(b"closed")

    def get_write_buffer_size(self) -> int:
        return 0


def test_what_is_written_in_one_round_is_sent_with_one_call():
    async def rounds() -> list[bytes]:
        sent = Sent()
        joined = JoinedWrites(sent, asyncio.get_running_loop())
        for data in (b"head ", b"", b"body"):
            joined.write(data)
        await asyncio.sleep(0)
        joined.write(b"more")
        joined.close()
        await asyncio.sleep(0)
        return sent.calls

    assert asyncio.run(rounds()) == [b"head body", b"more", b"closed"]


def test_whoever_does_not_take_the_end_of_an_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch):
    is_over = threading.Event()

    class Watched(Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            is_over.set()

    monkeypatch.setattr(protocol, "_LINGER", 0.2)
    with serve(app, http=Watched) as server, socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", server.port))
        caller.sendall(b"GET /huge?close HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_over.wait(20)


def test_uvicorn_still_writes_and_closes_through_its_transport():
    """What is replaced here must stay what uvicorn uses."""
    config = uvicorn.Config(app, http=Protocol)
    config.load()
    assert config.http_protocol_class is Protocol
