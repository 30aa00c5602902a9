"""Requests that a proxy in front could read differently (request smuggling) are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.test_protocol import app, talk
from tests.support.asgi_server import RunningServer, serve

HOST = b"host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the request as the application receives it."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    seen = repr([scope["method"], scope["raw_path"], *scope["headers"], body]).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(seen))]}
    )
    await send({"type": "http.response.body", "body": seen})


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serve(mirror, timeout_keep_alive=1) as running:
        yield running


REFUSED = {
    "a folded header": b"GET / HTTP/1.1\r\nhost: a\r\nx: one\r\n two\r\n\r\n",
    "a header before the first": b"GET / HTTP/1.1\r\n host: a\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "a space before the colon": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 1\r\n\r\nx",
    "two lengths": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
    "one length twice": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
    "lengths in a list": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx",
    "a length with a sign": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
    "a length below nothing": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\nx",
    "a length of two numbers": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1 1\r\n\r\nx",
    "no length": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \r\n\r\nx",
    "a length beyond any": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nx",
    "chunks and a length": CHUNKED + b"content-length: 5\r\n\r\n0\r\n\r\n",
    "a length and chunks": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": CHUNKED + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks that are compressed": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks, compressed in a line before":
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "compressed chunks": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks that are none": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks after a control character": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an identity that is no coding": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\nx",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks that end with a line feed": CHUNKED + b"\r\n1\nx\n0\n\n",
    "a chunk of hexadecimal spelling": CHUNKED + b"\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a chunk with a space": CHUNKED + b"\r\n1 \r\nx\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"\r\n1\r\nxyz\r\n0\r\n\r\n",
    "a chunk beyond any length": CHUNKED + b"\r\nffffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "a line feed in what is said of a chunk": CHUNKED + b"\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
    "a length after the body": CHUNKED + b"\r\n1\r\nx\r\n0\r\ncontent-length: 1\r\n\r\n",
    "lines that end with a line feed": b"GET / HTTP/1.1\nhost: a\n\n",
    "a header that ends with a line feed": b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
    "a header that ends with a carriage return": b"GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nhost: a\r\nx\0: ab\r\n\r\n",
    "NUL in an address": b"GET /a\0b HTTP/1.1\r\nhost: a\r\n\r\n",
    "a control character in a header": b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n",
    "a control character in an address": b"GET /a\x01b HTTP/1.1\r\nhost: a\r\n\r\n",
    "an address that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n",
    "another version": b"GET / HTTP/1.2\r\nhost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_request_is_refused(server: RunningServer, content: bytes):
    """JSON, once, and nothing that follows on the connection is parsed."""
    with talk(server) as exchange:
        heard = exchange(content + LAST)
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert body.startswith(b'{"error_code": "BAD_REQUEST", "message": "This is not a valid HTTP request')
    assert heard.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("trailer", [b"authorization: Bearer x", b"host: b", b"expect: 100-continue"])
def test_trailers_do_not_become_headers(server: RunningServer, trailer: bytes):
    """Trailers become headers neither of their own request nor of the next one."""
    with talk(server) as exchange:
        heard = exchange(CHUNKED + b"\r\n1\r\nx\r\n0\r\n" + trailer + b"\r\n\r\n" + LAST)
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert repr(["POST", b"/", (b"host", b"a"), (b"transfer-encoding", b"chunked"), b"x"]).encode() in heard
    assert heard.endswith(repr(["GET", b"/last", (b"host", b"a"), (b"connection", b"close"), b""]).encode())


def test_chunk_extensions_are_dropped(server: RunningServer):
    with talk(server) as exchange:
        assert b"b'xy'" in exchange(CHUNKED + b'\r\n1;a="b\\"c"\r\nx\r\n1;d\r\ny\r\n0\r\n\r\n')


def test_requests_after_connection_close_are_not_answered(server: RunningServer):
    with talk(server) as exchange:
        assert exchange(LAST + b"GET /more HTTP/1.1\r\nhost: a\r\n\r\n").count(b"HTTP/1.1 ") == 1


def test_garbage_after_a_request_does_not_change_its_response(server: RunningServer):
    with talk(server) as exchange:
        heard = exchange(b"GET /first HTTP/1.1\r\nhost: a\r\n\r\nnonsense\r\n\r\n")
    assert b"HTTP/1.1 400" not in heard
