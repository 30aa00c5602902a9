"""Streams: events are passed on as they arrive, and the last one is [DONE] or an error event."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.gateway.conftest import CANARY, CHAT, GatewayServer, disconnect_when, endpoint, entity
from tests.support.raw_server import RawServer, raw_server
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

STREAM = {**CHAT, "stream": True}
EVENT = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
LAST = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def payloads(answer: requests.Response) -> list[Any]:
    """The data of each event. Every line that is not empty must begin with `data: `, because the MLflow client requires it."""
    lines = [line for line in answer.content.decode().split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


def assert_ended_with_an_error(answer: requests.Response, *, code: str = "TEMPORARILY_UNAVAILABLE") -> str:
    *_, last = payloads(answer)
    assert b"[DONE]" not in answer.content
    assert last["error"]["message"] == last["message"]
    assert last["error_code"] == code
    assert CANARY not in answer.text
    return str(last["message"])


@pytest.fixture
def raw(gateway: GatewayServer) -> Iterator[RawServer]:
    """A server behind the endpoint `raw` that answers with the bytes a test sets."""
    with raw_server() as server:
        gateway.add(endpoint("raw", entity(base=server.url)))
        yield server


@pytest.mark.parametrize(("name", "body"), [("chat", STREAM), ("text", {"prompt": "x", "stream": True})])
def test_a_clean_stream_ends_with_exactly_one_done(gateway: GatewayServer, name: str, body: Any):
    answer = gateway.query(name, body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["served-model-name"] == "entity-1"
    events = payloads(answer)
    assert events[-1] == "[DONE]"
    assert events.count("[DONE]") == 1
    assert len(events) > 3


def test_events_are_passed_on_as_they_arrive(gateway: GatewayServer, sandbox: SandboxServer):
    sandbox.set_faults(pause=0.05)
    with gateway.query(body=STREAM, stream=True) as answer:
        moments = [time.monotonic() for line in answer.iter_lines() if line]
    assert moments[-1] - moments[0] > 0.5


def test_a_stream_contains_usage_when_it_is_requested(gateway: GatewayServer):
    answer = gateway.query(body={**STREAM, "stream_options": {"include_usage": True}})
    assert payloads(answer)[-2]["usage"]["total_tokens"] > 0


def test_a_cut_stream_ends_with_an_error_event(gateway: GatewayServer, sandbox: SandboxServer):
    sandbox.set_faults(cut_after=3)
    answer = gateway.query(body=STREAM)
    assert answer.status_code == 200
    assert len(payloads(answer)) == 4
    assert_ended_with_an_error(answer)


def test_a_stream_that_is_cut_before_its_first_event_is_an_error_status(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.set_faults(cut_after=0)
    answer = gateway.query(body=STREAM)
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_a_malformed_event_ends_the_stream_with_an_error_event(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.set_faults(malformed_after=2)
    answer = gateway.query(body=STREAM)
    assert len(payloads(answer)) == 3
    assert_ended_with_an_error(answer)


def test_an_error_event_of_the_provider_ends_the_stream_without_its_secrets(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.set_faults(failed_after=2, message=f"Overloaded {CANARY} today")
    answer = gateway.query(body=STREAM)
    message = assert_ended_with_an_error(answer, code="INTERNAL_ERROR")
    assert "Overloaded [secret] today" in message


def test_a_stream_without_done_is_complete_only_with_a_finish_reason(
    gateway: GatewayServer, sandbox: SandboxServer, raw: RawServer
):
    sandbox.set_faults(no_done=True)
    assert payloads(gateway.query(body=STREAM))[-1] == "[DONE]"
    raw.answer(HEAD + b"connection: close\r\n\r\n" + EVENT)
    assert_ended_with_an_error(gateway.query("raw", STREAM))


def test_comments_names_and_ids_are_not_passed_on(gateway: GatewayServer, raw: RawServer):
    noise = b": keep-alive\n\nevent: message\nid: 7\nretry: 10\n" + EVENT.replace(b"\n", b"\r\n")
    raw.answer(HEAD + b"connection: close\r\n\r\n" + noise + LAST + b"data: [DONE]\n\ndata: [DONE]\n\n")
    assert payloads(gateway.query("raw", STREAM))[-2:] == [
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        "[DONE]",
    ]


def test_a_surrogate_pair_split_over_two_events_is_passed_on(gateway: GatewayServer, raw: RawServer):
    halves = [
        b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
        EVENT.replace(b'"a"', b'"\\ude00"'),
    ]
    raw.answer(HEAD + b"\r\n" + b"".join(halves) + b"data: [DONE]\n\n")
    first, second, done = payloads(gateway.query("raw", STREAM))
    text = "".join(each["choices"][0]["delta"]["content"] for each in (first, second))
    assert (text.encode("utf-16", "surrogatepass").decode("utf-16"), done) == ("😀", "[DONE]")


def test_an_event_of_several_data_lines_is_passed_on_as_one_line(gateway: GatewayServer, raw: RawServer):
    raw.answer(HEAD + b'connection: close\r\n\r\ndata: {"choices":\ndata: [{}]}\n\ndata: [DONE]')
    assert payloads(gateway.query("raw", STREAM)) == [{"choices": [{}]}, "[DONE]"]


def test_a_provider_that_does_not_stream_is_501(gateway: GatewayServer, raw: RawServer):
    raw.answer(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n"
        + b'{"choices":[{}]}'
    )
    answer = gateway.query("raw", STREAM)
    assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_a_stream_that_takes_longer_than_the_total_timeout_is_ended_with_an_error(
    short_timeouts_gateway: GatewayServer, sandbox: SandboxServer
):
    gateway = short_timeouts_gateway
    gateway.add(endpoint("chat", entity(base=sandbox.base)))
    sandbox.set_faults(pause=1.0)  # between some twenty events
    answer = gateway.query(body=STREAM)
    assert "within 3 s" in assert_ended_with_an_error(answer, code="DEADLINE_EXCEEDED")


def test_the_connection_of_a_slow_stream_is_reused(gateway: GatewayServer, raw: RawServer):
    parts = (b'19\r\ndata: {"choices": [{}]}\n\n\r\n', b"e\r\ndata: [DONE]\n\n\r\n", b"0\r\n\r\n")
    raw.answer(HEAD + b"transfer-encoding: chunked\r\n\r\n", later=parts, close=False)
    pool = gateway.gateway.client.pool
    gateway.gateway.client.pool.close()
    for count in range(1, 4):
        assert payloads(gateway.query("raw", STREAM)) == [{"choices": [{}]}, "[DONE]"]
        wait_until(lambda: len(pool) == 1)
        assert (raw.connections, len(raw.requests)) == (1, count)


def test_a_disconnect_during_a_stream_cancels_the_request_to_the_provider(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.set_faults(pause=0.2)
    with gateway.query(body=STREAM, stream=True) as answer:
        next(answer.iter_lines())
    wait_until(lambda: sandbox.requests("chat/completions")[0]["gone"])


def test_a_disconnect_before_the_answer_cancels_the_request_to_the_provider(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.hold("chat/completions")
    disconnect_when(lambda: sandbox.requests("chat/completions"), gateway, "chat")
    wait_until(lambda: sandbox.requests("chat/completions")[0]["gone"])
