"""A response that is sent before the end of the request reaches the client, and the rest of the request is discarded within limits."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import requests

from serving_ui.server import protocol
from tests.server.test_protocol import app
from tests.support.asgi_server import RunningServer, serve

LARGE = b"x" * 20_000_000
ERROR_BODY = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Too much."}


async def early_response(scope: Any, receive: Any, send: Any) -> None:
    """Responds before the end of the body; `/some` after reading a part of it."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
        return
    if scope["path"] == "/some":
        await receive()
    content = json.dumps(ERROR_BODY).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serve(early_response, timeout_keep_alive=1) as running:
        yield running


def by_requests(url: str) -> Any:
    with requests.Session() as session:
        answer = session.post(url, data=LARGE, timeout=30)
        assert session.get(url, timeout=30).json() == ERROR_BODY  # on the same connection
        return answer.json()


def by_requests_in_parts(url: str) -> Any:
    return requests.post(url, data=iter([LARGE[:1000]] * 20_000), timeout=30).json()


def by_httpx(url: str) -> Any:
    return httpx2.post(url, content=LARGE, timeout=30).json()


def by_httpx_in_parts(url: str) -> Any:
    return httpx2.post(url, content=iter([LARGE[:100_000]] * 200), timeout=30).json()


def by_openai(url: str) -> Any:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=30) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": LARGE.decode()}])
        return refused.value.response.json()


def by_urllib(url: str) -> Any:
    """With `Connection: close`."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, LARGE), timeout=30)
    with refused.value as answer:
        return json.load(answer)


def by_curl(*options: str) -> Callable[[str], Any]:
    def send(url: str) -> Any:
        command = ["curl", "-sS", "--max-time", "30", "--data-binary", "@-", *options, url]
        done = subprocess.run(command, input=LARGE, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return send


CLIENTS = {
    "requests": by_requests,
    "requests, in parts": by_requests_in_parts,
    "httpx": by_httpx,
    "httpx, in parts": by_httpx_in_parts,
    "openai": by_openai,
    "urllib": by_urllib,
    "curl, which asks first": by_curl("-H", "Expect: 100-continue"),
    "curl, which does not": by_curl("-H", "Expect:"),
    "curl, in chunks": by_curl("-H", "Expect:", "-H", "Transfer-Encoding: chunked"),
    "curl, of HTTP/1.0": by_curl("--http1.0"),
}


@pytest.mark.parametrize("send", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("path", ["", "/some"])
def test_a_client_that_is_still_sending_gets_the_response(
    server: RunningServer, path: str, send: Callable[[str], Any]
):
    assert send(server.url + path) == ERROR_BODY


def test_a_client_that_expects_100_continue_gets_the_response_instead(server: RunningServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert caller.recv(1000).startswith(b"HTTP/1.1 400 ")


def send_until_disconnect(server: RunningServer, head: bytes, rest: bytes) -> tuple[int, bytes]:
    """The number of bytes that could be sent, and the bytes received."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(head)
        heard, sent = caller.recv(1000), 0
        with suppress(ConnectionError):
            while sent < 100_000_000:
                caller.sendall(rest)
                sent += len(rest)
        return sent, heard


@pytest.mark.parametrize("more", [b"", b"connection: close\r\n"])
@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"POST / HTTP/1.1\r\nhost: a\r\n%bcontent-length: 100000000000\r\n\r\n", b"x" * 100_000),
        (b"POST / HTTP/1.1\r\nhost: a\r\n%btransfer-encoding: chunked\r\n\r\n", b"186a0\r\n" + b"x" * 100_000 + b"\r\n"),
        (b"nonsense%b\r\n\r\n", b"x" * 100_000),
    ],
    ids=["a length", "chunks", "nonsense"],
)  # fmt: skip
def test_the_bytes_read_after_a_response_are_limited(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, head: bytes, rest: bytes, more: bytes
):
    monkeypatch.setattr(protocol, "_MAX_DISCARDED_BYTES", 1_000_000)
    sent, heard = send_until_disconnect(server, head % more, rest)
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert sent < 50_000_000  # the kernel's buffers are included


def test_the_time_of_reading_after_a_response_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "_DISCARD_SECONDS", 0.3)
    with serve(early_response, timeout_keep_alive=1) as server:
        sent, heard = send_until_disconnect(
            server, b"POST / HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n", b"x"
        )
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert sent < 100_000_000


def test_a_refused_body_does_not_fill_the_memory(server: RunningServer, tmp_path: Path):
    """60 MB are discarded while they arrive."""
    before = _resident()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60000000\r\n\r\n")
        for _ in range(600):
            caller.sendall(b"x" * 100_000)
        caller.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        heard = b""
        while portion := caller.recv(65536):
            heard += portion
    assert heard.count(b"HTTP/1.1 400 ") == 2
    assert _resident() - before < 20_000


def _resident() -> int:
    """Resident memory of this process, in kB."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
