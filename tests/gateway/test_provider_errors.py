"""Errors of a provider: the status and message that the caller gets, without secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.gateway.conftest import CANARY, GatewayServer, endpoint, entity
from tests.support.raw_server import RawServer, raw_server
from tests.support.sandbox import SandboxServer
from tests.support.waiting import free_port, wait_until

UNDERSTOOD = {400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504}


@pytest.fixture
def raw(gateway: GatewayServer) -> Iterator[RawServer]:
    with raw_server() as server:
        gateway.add(endpoint("raw", entity(base=server.url)))
        yield server


def outcome(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    assert CANARY not in answer.text
    assert answer.json()["message"].endswith((".", "…"))
    return answer.status_code, answer.json()["error_code"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, (400, "BAD_REQUEST")),
        (401, (400, "BAD_REQUEST")),
        (403, (400, "BAD_REQUEST")),
        (404, (400, "BAD_REQUEST")),
        (408, (504, "DEADLINE_EXCEEDED")),
        (409, (409, "RESOURCE_CONFLICT")),
        (413, (400, "BAD_REQUEST")),
        (422, (400, "BAD_REQUEST")),
        (429, (429, "RESOURCE_EXHAUSTED")),
        (500, (500, "INTERNAL_ERROR")),
        (501, (501, "NOT_IMPLEMENTED")),
        (502, (503, "TEMPORARILY_UNAVAILABLE")),
        (503, (503, "TEMPORARILY_UNAVAILABLE")),
        (504, (504, "DEADLINE_EXCEEDED")),
        (529, (503, "TEMPORARILY_UNAVAILABLE")),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_status_of_a_provider_becomes_a_status_of_the_gateway(
    gateway: GatewayServer, sandbox: SandboxServer, status: int, expected: tuple[int, str], stream: bool
):
    sandbox.set_faults(status=status, message="The model said no.")
    answer = gateway.query(body={"messages": [{"role": "user", "content": "x"}], "stream": stream})
    assert outcome(answer) == expected
    assert answer.status_code in UNDERSTOOD
    assert "The model said no." in answer.json()["message"]


def test_a_refused_provider_key_is_not_answered_with_401(gateway: GatewayServer, sandbox: SandboxServer):
    gateway.publish(endpoint("chat", entity(base=sandbox.base, key="sandbox-invalid")))
    answer = gateway.query()
    assert outcome(answer) == (400, "BAD_REQUEST")
    assert "refused the credentials of endpoint chat" in answer.json()["message"]
    assert "Incorrect API key provided." in answer.json()["message"]


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("7", "7"),
        ("0.2", "1"),
        ("9999", "300"),
        ("Wed, 21 Oct 2099 07:28:00 GMT", "300"),
        ("Wed, 21 Oct 2026", "1"),
        ("", "1"),
        ("nan", "1"),
    ],
)
def test_the_providers_retry_after_is_passed_on_in_whole_seconds(
    gateway: GatewayServer, sandbox: SandboxServer, retry_after: str, expected: str
):
    sandbox.set_faults(status=429, retry_after=retry_after)
    assert gateway.query().headers["retry-after"] == expected


def test_an_exhausted_quota_is_400(gateway: GatewayServer, sandbox: SandboxServer):
    sandbox.set_faults(status=429, message="insufficient_quota: pay first.")
    assert outcome(gateway.query()) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "message",
    [f"Key {CANARY} is bad.", f"Bearer {CANARY}", "Incorrect API key provided: sk-ab***yz.", f"x{CANARY}x"],
)
def test_a_secret_in_the_providers_message_is_redacted(
    gateway: GatewayServer, sandbox: SandboxServer, message: str
):
    sandbox.set_faults(status=401, message=message)
    answer = gateway.query()
    assert "[secret]" in answer.json()["message"]
    assert "sk-" not in answer.text


def test_a_long_message_is_truncated(gateway: GatewayServer, sandbox: SandboxServer):
    sandbox.set_faults(status=400, message="long " * 2000)
    assert 1500 < len(gateway.query().json()["message"]) < 2300


def test_a_redirect_is_not_followed(gateway: GatewayServer, sandbox: SandboxServer, raw: RawServer):
    sandbox.set_faults(status=307, location=f"{raw.url}/stolen")
    answer = gateway.query()
    assert outcome(answer) == (400, "BAD_REQUEST")
    assert "redirect" in answer.json()["message"]
    assert raw.requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<html>log in</h",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_a_reply_that_is_not_a_json_object_is_500(gateway: GatewayServer, raw: RawServer, content: bytes):
    raw.answer(content)
    assert outcome(gateway.query("raw")) == (500, "INTERNAL_ERROR")


def test_an_error_page_in_html_is_not_quoted(gateway: GatewayServer, raw: RawServer):
    raw.answer(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 21\r\n\r\n<html>oh no!</html>  ")
    answer = gateway.query("raw")
    assert outcome(answer) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "html" not in answer.json()["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    ],
)
def test_a_reply_that_is_not_valid_http_is_503(gateway: GatewayServer, raw: RawServer, content: bytes):
    raw.answer(content)
    assert outcome(gateway.query("raw")) == (503, "TEMPORARILY_UNAVAILABLE")


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2**20,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 2**15,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: " + b"y" * 2**20,
    ],
    ids=["a line", "interim replies", "a trailer"],
)
def test_an_endless_response_head_is_refused(gateway: GatewayServer, raw: RawServer, content: bytes):
    """The parser buffers a line until its end, which would fill the memory."""
    raw.answer(content, close=False)
    answer = gateway.query("raw")
    assert outcome(answer) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "too many headers" in answer.json()["message"]


def test_interim_responses_are_skipped(gateway: GatewayServer, raw: RawServer):
    raw.answer(
        b'HTTP/1.1 100 Continue\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data": 1}'
    )
    assert gateway.query("raw").json() == {"data": 1}


def test_a_reply_without_a_length_ends_with_the_connection(gateway: GatewayServer, raw: RawServer):
    raw.answer(b'HTTP/1.0 200 OK\r\n\r\n{"data": 1}')
    assert gateway.query("raw").json() == {"data": 1}


def test_a_connection_that_was_closed_while_idle_is_replaced(gateway: GatewayServer, raw: RawServer):
    raw.answer(
        b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data": 1}'
    )  # without `connection: close`, but closes after each answer
    for _ in range(5):
        assert gateway.query("raw").status_code == 200
    assert len(raw.requests) == 5


def test_bytes_after_a_reply_are_never_read_as_the_next_reply(gateway: GatewayServer, raw: RawServer):
    raw.answer(
        b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data": 1}HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data": 2}',
        close=False,
    )
    for _ in range(3):
        assert gateway.query("raw").status_code in {200, 503}
        assert gateway.query("raw").json().get("data") != 2


def test_a_refused_connection_is_503(gateway: GatewayServer):
    gateway.publish(endpoint("chat", entity(base=f"http://127.0.0.1:{free_port()}")))
    answer = gateway.query()
    assert outcome(answer) == (503, "TEMPORARILY_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_host_name_that_cannot_be_resolved_is_503(gateway: GatewayServer):
    gateway.publish(endpoint("chat", entity(base="http://nobody.invalid/v1")))
    assert outcome(gateway.query()) == (503, "TEMPORARILY_UNAVAILABLE")


def test_a_provider_that_does_not_begin_to_answer_is_504(
    short_timeouts_gateway: GatewayServer, sandbox: SandboxServer
):
    gateway = short_timeouts_gateway
    gateway.add(endpoint("chat", entity(base=sandbox.base)))
    sandbox.hold("chat/completions")
    answer = gateway.query()
    assert outcome(answer) == (504, "DEADLINE_EXCEEDED")
    assert "1.5 s" in answer.json()["message"]
    wait_until(lambda: sandbox.requests("chat/completions")[0]["gone"])


def test_a_reply_that_is_cut_is_503(gateway: GatewayServer, sandbox: SandboxServer):
    sandbox.set_faults(cut_after=0)
    assert outcome(gateway.query()) == (503, "TEMPORARILY_UNAVAILABLE")
