"""Deadlines of clients: for the head of a request, its body, and reading the response. Delays of the server do not count."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from serving_ui.server import protocol
from tests.architecture.sources import ROOT
from tests.server.test_protocol import app, talk
from tests.support.asgi_server import RunningServer, serve
from tests.support.program import Program, running_program
from tests.support.waiting import free_port, wait_until

POST = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
GET = b"GET /whole HTTP/1.1\r\nhost: a\r\n\r\n"
PAUSE = 0.05  # seconds between the pieces that a slow client sends


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server with short deadlines: half a second for a head, and 100 bytes a second, averaged over half a second."""
    for name, value in {
        "_HEAD_SECONDS": 0.5,
        "_BODY_SECONDS": 0.5,
        "_MIN_BODY_RATE": 100,
        "_DISCARD_SECONDS": 0.5,
    }.items():
        monkeypatch.setattr(protocol, name, value)
    with serve(app, timeout_keep_alive=1) as running:
        yield running


@contextmanager
def sending_slowly(port: int, content: bytes, *, size: int = 1) -> Iterator[Callable[[], bytes]]:
    """Send the content in small pieces until the server closes. Yields a function that waits for the close and returns the received bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
        is_over = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                for at in range(0, len(content), size):
                    caller.sendall(content[at : at + size])
                    if is_over.wait(PAUSE):
                        return

        thread = threading.Thread(target=drip)
        thread.start()

        def received() -> bytes:
            found = b""
            with suppress(ConnectionResetError):
                while portion := caller.recv(65536):
                    found += portion
            return found

        try:
            yield received
        finally:
            is_over.set()
            thread.join(60)


@pytest.mark.parametrize("begun", [b"", b"GET /whole HT", POST % 5 + b"ab"], ids=["nothing", "head", "body"])
def test_a_client_that_stops_sending_is_disconnected(server: RunningServer, begun: bytes):
    with talk(server) as exchange:
        assert exchange(begun) == b""


@pytest.mark.parametrize(
    "content",
    [
        b"GET /whole HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 1000,
        b"\r\n" * 5000,
        POST % 100_000 + b"x" * 100_000,
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + b"1;a=b\r\nx\r\n" * 10_000,
    ],
    ids=["head", "before the head", "body", "chunks"],
)
def test_a_client_below_the_minimum_rate_is_disconnected(server: RunningServer, content: bytes):
    with sending_slowly(server.port, content) as received:
        assert received() == b""


def test_each_request_of_a_connection_has_its_own_deadline_for_the_head(server: RunningServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        for _ in range(3):
            caller.sendall(GET)
            assert caller.recv(1000).endswith(b"whole")
        caller.sendall(b"GET /whole HT")
        assert caller.recv(1000) == b""


def test_a_body_above_the_minimum_rate_is_accepted(server: RunningServer, monkeypatch: pytest.MonkeyPatch):
    """Four times as fast as required, and for longer than the rate is averaged over."""
    monkeypatch.setattr(protocol, "_BODY_SECONDS", 3.0)  # longer than a busy machine interrupts the client
    content = POST % 2000 + b"x" * 2000
    with sending_slowly(server.port, content, size=20) as received:
        assert received().endswith(b"x" * 2000)


def test_a_fast_start_does_not_allow_a_long_pause(server: RunningServer):
    with talk(server) as exchange:
        assert exchange(POST % 1_000_000 + b"x" * 50_000) == b""


def test_a_client_is_not_disconnected_while_the_application_does_not_read(server: RunningServer):
    """The application sleeps for longer than a client may, while more data arrives than is buffered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(b"POST /sleepy HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n" + b"x" * 200_000)
        assert caller.recv(1000).endswith(b"awake\r\n")
        caller.sendall(b"x" * 100_000)
        assert caller.recv(1000).endswith(b"300000\r\n0\r\n\r\n")


def test_a_client_that_waits_for_a_response_is_not_disconnected(server: RunningServer):
    with talk(server) as exchange:
        assert exchange(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").endswith(b"\r\n\r\nslow")


def test_a_client_with_an_incomplete_next_head_is_not_disconnected_while_it_waits(server: RunningServer):
    with talk(server) as exchange:
        received = exchange(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\nGET /whole HT")
        assert received.endswith(b"\r\n\r\nslow")


def test_a_client_with_an_incomplete_next_body_is_not_disconnected_while_it_waits(server: RunningServer):
    with talk(server) as exchange:
        received = exchange(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n" + POST % 5 + b"ab")
        assert received.endswith(b"\r\n\r\nslow")


def test_disconnected_clients_are_logged_once_a_minute(
    server: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol, "_warned_at", -1000.0)
    with caplog.at_level(logging.WARNING, logger="serving_ui.server"):
        for begun in (b"GET /whole HT", POST % 5, b"GET /whole HT"):
            with talk(server) as exchange:
                assert exchange(begun) == b""
    assert [record.getMessage() for record in caplog.records] == [
        "A request of 127.0.0.1 arrived too slowly, so its connection was closed. This is logged at most once a minute."
    ]


def test_a_client_that_does_not_read_its_response_is_disconnected(monkeypatch: pytest.MonkeyPatch):
    """While the response is being written and the connection is open."""
    ended = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 10_000_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"x" * 10_000_000})
        ended.set()

    monkeypatch.setattr(protocol, "_UNREAD_RESPONSE_SECONDS", 0.3)
    with serve(endless) as server, socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", server.port))
        caller.sendall(GET)
        assert ended.wait(60)


# A server process that was stopped


@pytest.fixture
def program() -> Iterator[tuple[Program, int]]:
    """A server in its own process, and its port. It closes idle connections after 2 s, and incomplete requests after 4 s."""
    port = free_port()
    command = [sys.executable, "-m", "tests.server.protocol_server", str(port), "2", "4"]
    with running_program(command, cwd=ROOT, env=dict(os.environ)) as program:
        wait_until(lambda: _takes_connections(port), what="the server")
        yield program, port


def _takes_connections(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
        caller.sendall(GET)
        return caller.recv(1000) != b""
    return False


@contextmanager
def stopped(program: Program, seconds: float) -> Iterator[None]:
    """Stop the process for the block, and for at least so long."""
    program.signal(signal.SIGSTOP)
    try:
        yield
        threading.Event().wait(seconds)
    finally:
        program.signal(signal.SIGCONT)


@pytest.mark.parametrize("seconds", [2.3, pytest.param(4.0, marks=pytest.mark.faults)])
def test_a_request_that_arrived_while_the_process_was_stopped_is_answered(
    program: tuple[Program, int], seconds: float
):
    process, port = program
    callers = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(50)]
    for caller in callers:
        caller.sendall(GET)
    for caller in callers:
        assert caller.recv(1000).endswith(b"whole")
    for _ in range(2):
        with stopped(process, seconds):  # the timer of each connection expires meanwhile
            for caller in callers:
                caller.sendall(GET)
        for caller in callers:
            assert caller.recv(1000).endswith(b"whole")
    for caller in callers:
        assert caller.recv(1000) == b""  # closed after the idle timeout
        caller.close()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("begun", "rest"), [(GET[:13], GET[13:]), (POST % 5 + b"wh", b"ole")], ids=["head", "body"]
)
def test_time_in_which_the_process_was_stopped_does_not_count(
    program: tuple[Program, int], begun: bytes, rest: bytes
):
    """The server is stopped for longer than a client may take, and the rest of the request arrives afterwards."""
    process, port = program
    with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
        caller.sendall(begun)
        threading.Event().wait(0.5)
        with stopped(process, 6.0):
            pass
        threading.Event().wait(0.5)
        caller.sendall(rest)
        assert caller.recv(1000).endswith(b"whole")
