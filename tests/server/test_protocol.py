"""HTTP/1.1 byte by byte: requests in pieces of any size, and the responses of good and bad applications."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from serving_ui.server import protocol
from serving_ui.server.protocol import Protocol
from tests.support.asgi_server import RunningServer, serve

LARGE = b"x" * 1_000_000
START = {"type": "http.response.start", "status": 200}
Send = Callable[[dict[str, Any]], Any]


async def lives(receive: Any, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def read(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def body(send: Send, content: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})


def with_header(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


async def complete_response(content: bytes, send: Send) -> None:
    await send(with_header((b"content-length", b"%d" % len(content))))
    await body(send, content)


async def response_in_parts(send: Send, *contents: bytes) -> None:
    await send(START)
    for content in contents:
        await body(send, content, more=True)
    await body(send, b"")


WHOLE = {
    "/whole": b"whole", "/large": LARGE, "/huge": LARGE * 30, "/empty": b"", "/like-a-head": b"HTTP/1.1 200 OK\r\n\r\n",
}  # fmt: skip


async def app(scope: Any, receive: Any, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lives(receive, send)
    elif scope["path"] in WHOLE:
        await complete_response(WHOLE[scope["path"]], send)
    elif scope["path"] in BADLY:
        await BADLY[scope["path"]](send)
    else:
        await healthy(scope, receive, send)


async def healthy(scope: Any, receive: Any, send: Send) -> None:
    match scope["path"]:
        case "/echo":
            await complete_response(await read(receive), send)
        case "/path with spaces":
            await complete_response(scope["raw_path"] + b" " + scope["query_string"], send)
        case "/parts":
            await response_in_parts(send, b"one", b"", b"two", b"three")
        case "/closes":
            await send(with_header((b"Connection", b"Close"), (b"content-length", b"2")))
            await body(send, b"ok")
        case "/no-content":
            await send(with_header(status=204))
            await body(send, b"none of it")
        case "/not-modified":
            await send(with_header((b"content-length", b"5"), status=304))
            await body(send, b"")
        case "/hasty":
            await complete_response(b"hasty", send)
        case "/slow":
            with suppress(TimeoutError):
                async with asyncio.timeout(2.5):  # longer than the deadlines of clients
                    await receive()
                    await receive()
            await complete_response(b"slow", send)
        case "/sleepy":
            await send(START)
            await asyncio.sleep(2.5)
            await body(send, b"awake", more=True)
            await body(send, b"%d" % len(await read(receive)))
        case "/twice":
            await complete_response(b"whole", send)
            with pytest.raises(RuntimeError):
                await complete_response(b"again", send)
        case "/waits-for-leave":
            await read(receive)
            LEFT.append((await receive())["type"])


async def too_long(send: Send) -> None:
    await send(with_header((b"content-length", b"2")))
    await body(send, b"abc")


async def too_short(send: Send) -> None:
    await send(with_header((b"content-length", b"5")))
    await body(send, b"ab", more=True)
    await body(send, b"c")


async def line_break(send: Send) -> None:
    await send(with_header((b"x-name", b"a\r\nset-cookie: a=b")))


async def no_response(_send: Send) -> None:
    pass


async def raises_before_response(_send: Send) -> None:
    raise ValueError("sk-secret")


async def raises_after_start(send: Send) -> None:
    await send(START)
    await body(send, b"begun", more=True)
    raise ValueError("sk-secret")


BADLY = {
    "/too-long": too_long, "/too-short": too_short, "/line-break": line_break, "/nothing": no_response, "/raises": raises_before_response,
    "/raises-late": raises_after_start,
}  # fmt: skip
LEFT: list[str] = []


async def disconnect_messages() -> list[str]:
    """The ASGI messages of applications whose client has disconnected."""
    async with asyncio.timeout(10):
        while not LEFT:
            await asyncio.sleep(0.002)
    return LEFT


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serve(app) as running:
        yield running


@pytest.fixture
def caller(server: RunningServer) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    yield connection
    connection.close()


def get(caller: HTTPConnection, path: str) -> HTTPResponse:
    caller.request("GET", path)
    return caller.getresponse()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/whole", b"whole"),
        ("/parts", b"onetwothree"),
        ("/large", LARGE),
        ("/empty", b""),
        ("/like-a-head", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("/path%20with%20spaces?a=%20b", b"/path%20with%20spaces a=%20b"),
        ("/twice", b"whole"),
    ],
)
def test_a_connection_is_reused_for_several_requests(caller: HTTPConnection, path: str, content: bytes):
    for _ in range(3):
        answer = get(caller, path)
        assert (answer.status, answer.read()) == (200, content)
        assert answer.getheader("connection") is None
    used = caller.sock
    caller.request("HEAD", path)
    assert caller.getresponse().read() == b""
    assert caller.sock is used


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_the_application_receives_the_complete_body(caller: HTTPConnection, size: int):
    caller.request("POST", "/echo", body=b"y" * size)
    assert caller.getresponse().read() == b"y" * size


@pytest.mark.parametrize(("path", "status"), [("/no-content", 204), ("/not-modified", 304)])
def test_responses_without_a_body_have_none(caller: HTTPConnection, path: str, status: int):
    answer = get(caller, path)
    assert (answer.status, answer.read()) == (status, b"")
    assert answer.getheader("transfer-encoding") is None
    assert get(caller, "/whole").read() == b"whole"


def test_an_application_can_close_the_connection(caller: HTTPConnection):
    answer = get(caller, "/closes")
    assert answer.read() == b"ok"
    assert answer.getheader("connection") == "Close"
    assert answer.isclosed()


@pytest.mark.parametrize("path", ["/nothing", "/raises", "/line-break", "/too-long"])
def test_an_exception_before_the_response_is_a_500_in_json_without_details(caller: HTTPConnection, path: str):
    answer = get(caller, path)
    content = answer.read()
    assert answer.status == 500
    assert answer.getheader("content-type") == "application/json"
    assert answer.getheader("set-cookie") is None
    assert b"INTERNAL_ERROR" in content
    assert b"sk-" not in content


@pytest.mark.parametrize(
    ("path", "begun"), [("/too-short", b"\r\n\r\nab"), ("/raises-late", b"5\r\nbegun\r\n")]
)
def test_an_incomplete_response_closes_the_connection(server: RunningServer, path: str, begun: bytes):
    with talk(server) as exchange:
        content = exchange(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode())
    assert content.endswith(begun)


@contextmanager
def talk(server: RunningServer) -> Iterator[Callable[[bytes], bytes]]:
    """Returns a function that sends bytes and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:

        def exchange(content: bytes) -> bytes:
            connection.sendall(content)
            heard = b""
            while portion := connection.recv(65536):
                heard += portion
            return heard

        yield exchange


def test_pipelined_requests_are_answered_in_order(server: RunningServer):
    paths = [b"/whole", b"/parts", b"/like-a-head", b"/empty", b"/closes"]
    with talk(server) as exchange:
        heard = exchange(b"".join(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path for path in paths))
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == len(paths) + 1
    places = [heard.index(part) for part in (b"whole", b"three", b"\r\n\r\nHTTP/1.1", b"\r\n\r\nok")]
    assert places == sorted(places)


def test_http_1_0_gets_a_response_without_chunks(server: RunningServer):
    with talk(server) as exchange:
        heard = exchange(b"GET /parts HTTP/1.0\r\n\r\n")
    head, _, content = heard.partition(b"\r\n\r\n")
    assert content == b"onetwothree"
    assert b"chunked" not in head
    assert b"connection: close" in head


def test_a_client_that_expects_100_continue_gets_it(server: RunningServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert connection.recv(1000).endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
)
def test_a_request_that_is_not_http_is_refused(server: RunningServer, content: bytes):
    with talk(server) as exchange:
        assert exchange(content).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "content",
    [
        b"GET /whole HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 2**20,
        b"GET /" + b"y" * 2**20,
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nz\r\n0\r\nx: "
        + b"y" * 2**20,
    ],
    ids=["a header", "a path", "a trailer"],
)
def test_a_head_that_never_ends_is_refused(server: RunningServer, content: bytes):
    """httptools buffers an incomplete line without a limit of its own."""
    with talk(server) as exchange:
        try:
            heard = exchange(content)
        except ConnectionError:  # the server closed while the client was still sending
            heard = b""
    assert heard == b"" or b"longer than 64 kB" in heard


def test_a_long_head_within_the_limit_is_accepted(caller: HTTPConnection):
    for _ in range(3):
        caller.request("POST", "/echo", body=LARGE, headers={"x-name": "y" * 60_000})
        assert caller.getresponse().read() == LARGE


def test_an_application_is_told_of_a_disconnect(server: RunningServer):
    LEFT.clear()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /waits-for-leave HTTP/1.1\r\nhost: a\r\n\r\n")
    assert server.run(disconnect_messages()) == ["http.disconnect"]


def test_a_client_answered_before_the_end_of_its_request_is_disconnected_in_time():
    with (
        serve(app, timeout_keep_alive=1) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as caller,
    ):
        caller.sendall(b"POST /hasty HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
        assert caller.recv(1000).endswith(b"hasty")
        caller.sendall(b"b")
        assert caller.recv(1000) == b""


def test_an_application_is_told_of_a_disconnect_with_pipelined_requests(server: RunningServer):
    LEFT.clear()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /waits-for-leave HTTP/1.1\r\nhost: a\r\n\r\n" * 2)
    server.run(disconnect_messages())


def test_an_idle_connection_is_closed_after_its_timeout():
    with serve(app, timeout_keep_alive=1) as server, talk(server) as exchange:
        assert exchange(b"GET /whole HTTP/1.1\r\nhost: a\r\n\r\n").endswith(b"\r\n\r\nwhole")


def test_a_client_that_does_not_read_the_end_of_a_response_is_disconnected(monkeypatch: pytest.MonkeyPatch):
    is_over = threading.Event()

    class WatchedProtocol(Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            is_over.set()

    monkeypatch.setattr(protocol, "_UNREAD_RESPONSE_SECONDS", 0.2)
    with serve(app, http=WatchedProtocol) as server, socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", server.port))
        caller.sendall(b"GET /huge HTTP/1.0\r\n\r\n")
        assert is_over.wait(20)
