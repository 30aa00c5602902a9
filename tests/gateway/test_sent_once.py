"""A request that a provider may have read is never sent a second time, because each one costs money."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import uvloop

from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import Connection, ConnectionCut, UpstreamFault
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.gateway.watchdog import DeadlineWheel, RequestWatchdog
from serving_ui.lib.egress import EgressPolicy
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_tls import NAME, certificate
from tests.support.waiting import DEADLINE, wait_until

__all__ = ["certificate"]  # a fixture
BODY = b'{"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
ConnectionHandler = Callable[[socket.socket], None]
Loop = Callable[[], asyncio.AbstractEventLoop]
LOOPBACK = EgressPolicy(loopback=True)


@contextmanager
def server(handle_connection: ConnectionHandler) -> Iterator[int]:
    """A port where each connection gets a thread that runs `handle_connection`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def run(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle_connection(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=run, args=[listener.accept()[0]], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


class Vendor:
    """Answers the first request of each connection, does with the second one what a test says, and counts what it reads."""

    def __init__(self) -> None:
        self.read: list[bytes] = []
        self.connections = 0
        self.second: ConnectionHandler = self.answer

    def handle_connection(self, connection: socket.socket) -> None:
        self.connections += 1
        self.answer(connection)
        self.second(connection)

    def take(self, connection: socket.socket) -> bytes:
        """Reads a request and returns its body. It counts as read with its first bytes."""
        content = connection.recv(65536)
        if not content:
            raise ConnectionError
        self.read.append(content)
        head, _, body = content.partition(b"\r\n\r\n")
        length = int(re.findall(rb"content-length: (\d+)", head)[0])
        while len(body) < length:
            body += connection.recv(65536)
        return body

    def answer(self, connection: socket.socket) -> None:
        self.take(connection)
        connection.sendall(GOOD)

    def work_and_close(self, connection: socket.socket) -> None:
        self.take(connection)
        threading.Event().wait(0.7)

    def read_and_close(self, connection: socket.socket) -> None:
        self.take(connection)

    def read_and_reset(self, connection: socket.socket) -> None:
        reset_when_closed(connection)
        self.take(connection)

    def read_some_and_close(self, connection: socket.socket) -> None:
        self.read.append(connection.recv(100))

    def end_and_read(self, connection: socket.socket) -> None:
        """Shuts down its sending side as soon as something has arrived, and reads on."""
        connection.recv(1, socket.MSG_PEEK)
        connection.shutdown(socket.SHUT_WR)
        self.take(connection)

    def begin_and_close(self, connection: socket.socket) -> None:
        self.take(connection)
        connection.sendall(b"HTTP/1.1 2")


def reset_when_closed(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def paid(gateway: GatewayServer) -> Iterator[Vendor]:
    """A vendor behind the endpoint `paid`."""
    vendor = Vendor()
    with server(vendor.handle_connection) as port:
        gateway.add(endpoint("paid", entity(base=f"http://127.0.0.1:{port}")))
        yield vendor


@pytest.mark.parametrize(
    "second",
    [
        Vendor.work_and_close,
        Vendor.read_and_close,
        Vendor.read_and_reset,
        Vendor.read_some_and_close,
        Vendor.end_and_read,
        Vendor.begin_and_close,
    ],
    ids=lambda each: each.__name__,
)
def test_a_request_that_was_read_on_a_reused_connection_is_not_sent_again(
    gateway: GatewayServer, paid: Vendor, second: Callable[[Vendor, socket.socket], None]
):
    paid.second = partial(second, paid)
    assert gateway.query("paid").status_code == 200
    body = {"messages": [{"role": "user", "content": "x" * 100_000}]}
    answer = gateway.query("paid", body)
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "retry-after" not in answer.headers
    wait_until(lambda: len(paid.read) == 2, what="the vendor to read the second request")
    assert paid.connections == 1
    assert [record.retries for record in gateway.usage.records] == [0, 0]


def test_a_connection_that_was_closed_while_idle_causes_no_error_and_no_second_request(
    gateway: GatewayServer, paid: Vendor
):
    closed = threading.Semaphore(0)

    def close(connection: socket.socket) -> None:
        connection.close()
        closed.release()

    paid.second = close
    for _ in range(5):
        assert gateway.query("paid").status_code == 200
        assert closed.acquire(timeout=DEADLINE)
    assert (len(paid.read), paid.connections) == (5, 5)


def test_a_new_connection_that_is_closed_is_503(gateway: GatewayServer):
    with server(lambda connection: None) as port:
        gateway.add(endpoint("closed", entity(base=f"http://127.0.0.1:{port}")))
        assert gateway.query("closed").status_code == 503
        assert gateway.usage.last.retries == 0


# The race between both sides: the vendor has closed the connection, and the event loop has not noticed yet.


def end(connection: socket.socket) -> None:
    """Close the connection like an idle one."""


def say_goodbye(connection: socket.socket) -> None:
    """Close a TLS connection with close_notify."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(0.05)  # unwrap waits for the answer of the other side, which does not come
        with suppress(OSError):
            connection.unwrap()


def reset(connection: socket.socket) -> None:
    reset_when_closed(connection)


def read_then_end(connection: socket.socket) -> None:
    connection.recv(65536)


def leave_unread(connection: socket.socket) -> None:
    """The kernel has received the request, and the server closes without reading it: the client sees the same as with `read_then_reset`."""
    connection.recv(1, socket.MSG_PEEK)


def read_then_reset(connection: socket.socket) -> None:
    connection.recv(65536)
    reset_when_closed(connection)


@dataclass
class ClosingConnection:
    """Both sides of one connection. `go` lets the vendor end the connection with `how`, after which `closed` is set."""

    certificate: tuple[Path, Path] | None
    how: ConnectionHandler
    go: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def handle_connection(self, connection: socket.socket) -> None:
        """The vendor's side."""
        if self.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.certificate)
            connection = context.wrap_socket(connection, server_side=True)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        self.go.wait(DEADLINE)
        if self.how is say_goodbye:
            say_goodbye(connection)
        with suppress(OSError), socket.socket(fileno=connection.detach()) as below:
            self.how(below)
        self.closed.set()

    async def send_second_request(self, port: int, *, before: bool) -> Connection:
        """The client's side: sends a second request, before or after the vendor has ended the connection."""
        tls = self.certificate and ssl.create_default_context(cafile=str(self.certificate[0]))
        connecting = asyncio.get_running_loop().create_connection(
            partial(Connection, address="127.0.0.1"), "127.0.0.1", port, ssl=tls or None,
            server_hostname=NAME if tls else None,
        )  # fmt: skip
        _, connection = await connecting
        connection.send_request(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        while not connection.has_head or await connection.read():
            await asyncio.sleep(0)
        assert not connection.is_stale()
        self.go.set()
        if before:
            assert self.closed.wait(DEADLINE)  # blocks the event loop on purpose
            assert connection.is_stale()
        connection.send_request(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nmore")
        with pytest.raises(ConnectionCut):
            while not connection.has_head:
                await connection.wait()
        return connection


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("how", "before", "certain"),
    [
        (end, True, True),
        (say_goodbye, True, True),
        (reset, True, False),
        (read_then_end, False, False),
        (leave_unread, False, False),
        (read_then_reset, False, False),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
def test_closed_unread_is_set_only_if_the_request_was_certainly_not_read(
    certificate: tuple[Path, Path],
    loop: Loop,
    how: ConnectionHandler,
    is_secure: bool,
    *,
    before: bool,
    certain: bool,
):
    """uvloop does not report which side ended a TLS connection without close_notify, so then nothing is certain."""
    certain = certain and not (is_secure and how is end and loop is uvloop.new_event_loop)
    closing = ClosingConnection(certificate if is_secure else None, how)
    with server(closing.handle_connection) as port, asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(closing.send_second_request(port, before=before)).closed_unread is certain


class ClosingVendor:
    """A vendor that closes connections at random times, and callers that send requests at random times."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.read = Counter[int]()
        self.answered = set[int]()
        self.failed = set[int]()
        self.resends = 0
        self.random = random.Random(0)
        self.numbers = iter(range(4000))

    def handle_connection(self, connection: socket.socket) -> None:
        while content := connection.recv(65536):
            for number in re.findall(rb"number (\d+)", content):
                self.read[int(number)] += 1
            if self.random.random() < 0.05:  # it closes the connection after reading the request
                return
            connection.sendall(GOOD)
            connection.settimeout(self.random.random() * self.seconds)

    async def send_requests(self, client: UpstreamClient, url: str, key: int) -> None:
        """Sends one request after another with a key of its own, so that no other lane uses its connection."""
        for number in self.numbers:
            watchdog = RequestWatchdog(_never, Timeouts(), DeadlineWheel(), None)
            headers = (("authorization", f"Bearer {key}"),)
            request = UpstreamRequest("POST", url, headers, b"number %d" % number)
            try:
                reply = await client.send(request, policy=LOOPBACK, watchdog=watchdog)
                await reply.body()
                reply.release()
                self.answered.add(number)
            except UpstreamFault:
                self.failed.add(number)
            self.resends += watchdog.resends
            watchdog.stop()
            await asyncio.sleep(self.random.random() * self.seconds)

    async def run(self, port: int) -> None:
        client = UpstreamClient()
        client.start()
        await asyncio.gather(
            *(self.send_requests(client, f"http://127.0.0.1:{port}/", key) for key in range(16))
        )
        client.stop()


async def _never() -> dict[str, str]:
    await asyncio.get_running_loop().create_future()
    return {}


@pytest.mark.parametrize("seconds", [0.0005, 0.003])
def test_no_request_is_sent_twice_while_the_provider_closes_connections(seconds: float):
    """Each request is read at most once; one without an answer raises UpstreamFault."""
    vendor = ClosingVendor(seconds)
    with (
        server(vendor.handle_connection) as port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(vendor.run(port))
    assert len(vendor.answered) + len(vendor.failed) == 4000
    assert max(vendor.read.values()) == 1
    assert vendor.answered <= set(vendor.read)
    assert len(vendor.answered) > 3000
    assert len(vendor.failed & set(vendor.read)) > 50, "connections were closed after the request was read"


def test_a_streamed_request_that_was_read_is_not_sent_again(gateway: GatewayServer, paid: Vendor):
    paid.second = paid.work_and_close
    assert gateway.query("paid").status_code == 200
    assert gateway.query("paid", {**CHAT, "stream": True}).status_code == 503
    wait_until(lambda: len(paid.read) == 2)
    assert paid.connections == 1
