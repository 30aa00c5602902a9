"""A reply with status 200 that contains no answer is a failure: empty, cut, invalid, or with an error anywhere in a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from serving_ui.catalogue.tasks import Task
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import COUNTS, DONE, END, chunk
from tests.gateway.test_retries import GOOD
from tests.support.raw_server import RawServer, raw_server
from tests.support.vendor import Answer, Vendor

STREAM = {**CHAT, "stream": True}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
BROKEN, UNAVAILABLE, LIMITED = (
    (500, "INTERNAL_ERROR"),
    (503, "TEMPORARILY_UNAVAILABLE"),
    (429, "RESOURCE_EXHAUSTED"),
)
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
WHOLE = {"id": "x", "choices": [CHOICE], "usage": USAGE}


@pytest.fixture
def raw(gateway: GatewayServer, vendor: Vendor) -> Iterator[RawServer]:
    """The provider of the endpoints `raw` (chat), `raw-text` and `raw-vectors`, and the first one of `raw-2` and so on, where the vendor is the fallback."""
    with raw_server() as server:
        for name, task in (
            ("raw", Task.CHAT),
            ("raw-text", Task.COMPLETIONS),
            ("raw-vectors", Task.EMBEDDINGS),
        ):
            first = entity(base=server.url, task=task, name="first")
            second = entity(base=vendor.url, task=task, name="second")
            routes = (("first", 100), ("second", 0))
            gateway.add(
                endpoint(name, first),
                endpoint(f"{name}-2", first, entities=(first, second), routes=routes, fallback=True),
            )
        yield server


def whole(body: bytes, *, is_measured: bool = True) -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if is_measured else "Connection: close\r\n"
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{length}\r\n".encode() + body


def streamed(*events: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return head + b"".join(events)


def assert_failed(gateway: GatewayServer, vendor: Vendor, name: str, body: Any, expected: tuple[int, str]):
    """A query without a fallback fails with `expected`, and with a fallback the second entity answers."""
    answer = gateway.query(name, body)
    assert (answer.status_code, answer.json()["error_code"]) == expected
    record = gateway.usage.last
    assert (record.completeness, record.error_code) == ("failed", expected[1])
    vendor.set_answers(Answer.stream(chunk("a"), END, DONE) if body.get("stream") else GOOD)
    assert gateway.query(f"{name}-2", body).headers["served-model-name"] == "second"


NO_ANSWERS: list[tuple[Any, tuple[int, str]]] = [
    ({}, BROKEN),
    ({"choices": []}, BROKEN),
    ({"choices": [], "usage": USAGE}, BROKEN),
    ({"usage": USAGE, "id": "x"}, BROKEN),
    ({"choices": None}, BROKEN),
    ({"choices": None, "usage": USAGE}, BROKEN),
    ({"data": [], "object": "list", "usage": USAGE}, BROKEN),
    ({"status": "failed", "error_message": "x"}, BROKEN),
    ({"error_message": "out of memory"}, BROKEN),
    ({"err": "x"}, BROKEN),
    ({"exception": "ValueError"}, BROKEN),
    ({"success": False}, BROKEN),
    ({"Error": {"Code": "ThrottlingException", "Message": "Slow."}}, LIMITED),
    ({"Response": {"Error": {"Code": "LimitExceeded", "Message": "Slow."}}}, LIMITED),
    ({"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "x"}}}, LIMITED),
    ({"header": {"code": 10013, "message": "No."}}, BROKEN),
    ({"title": "Service unavailable", "status": 503, "type": "about:blank"}, UNAVAILABLE),
    ({"statusCode": 503, "body": "x"}, UNAVAILABLE),
    ({"errors": ["Model busy"], "usage": USAGE}, UNAVAILABLE),
]


@pytest.mark.parametrize(
    ("reply", "expected"), NO_ANSWERS, ids=[json.dumps(reply)[:50] for reply, _expected in NO_ANSWERS]
)
def test_a_reply_without_an_answer_is_a_failure(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, reply: Any, expected: tuple[int, str]
):
    raw.answer(whole(json.dumps(reply).encode()))
    assert_failed(gateway, vendor, "raw", CHAT, expected)


@pytest.mark.parametrize("reply", [{}, {"object": "list", "data": []}, {"choices": [], "usage": USAGE}])
@pytest.mark.parametrize("name", ["raw-text", "raw-vectors"])
def test_a_reply_without_an_answer_is_a_failure_of_each_task(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, reply: Any, name: str
):
    raw.answer(whole(json.dumps(reply).encode()))
    assert_failed(gateway, vendor, name, {"prompt": "Say hello.", "input": "Say hello."}, BROKEN)


@pytest.mark.parametrize(
    "reply",
    [
        WHOLE,
        {"id": "x", "choices": [CHOICE]},
        {
            "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}},
            "choices": [CHOICE],
            "error": None,
        },
        {"choices": [{**CHOICE, "message": {"content": 'It has "error": 1, "usage": {'}}], "usage": USAGE},
        {"choices": [CHOICE], "x_groq": {"id": "r", "usage": USAGE}},
        {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 3}},
        {"object": "response", "status": "queued", "output": []},
        {"messages": [{"role": "assistant", "content": "Hello."}]},
    ],
    ids=["usual", "no counts", "counts first", "a text of it", "Groq", "vectors", "a response", "an agent"],
)
@pytest.mark.parametrize("is_measured", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_valid_answer_is_passed_on_unchanged(
    gateway: GatewayServer, raw: RawServer, reply: Any, is_measured: bool, indent: int | None
):
    body = json.dumps(reply, indent=indent).encode() + b"\n"
    raw.answer(whole(body, is_measured=is_measured))
    answer = gateway.query("raw")
    assert (answer.status_code, answer.content) == (200, body)
    assert gateway.usage.last.completeness == "complete"


@pytest.mark.parametrize(
    ("reply", "is_measured"),
    [
        (WHOLE, True),
        (WHOLE, False),
        ({"choices": [CHOICE], "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}}}, True),
        ({**WHOLE, "x_groq": {"id": "r"}}, False),
        ({"choices": [CHOICE], "x_groq": {"id": "r", "usage": USAGE}}, False),
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"], ids=["bare", "line", "crlf"])
def test_a_reply_without_its_last_brace_is_truncated(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, *, reply: Any, is_measured: bool, end: bytes
):
    raw.answer(whole(json.dumps(reply).encode()[:-1] + end, is_measured=is_measured))
    assert_failed(gateway, vendor, "raw", CHAT, UNAVAILABLE)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "x", "usage":{"prompt_tokens":3,"completion_tokens":2},, garbage }',
        b'{"choices": [{}], "usage":{"prompt_tokens":3,"completion_tokens":2} garbage }',
        b'{"choices": [{}], "usage":{"prompt_tokens":3,"completion_tokens":2}}}',
    ],
)
def test_invalid_json_around_the_usage_is_no_answer(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, body: bytes
):
    raw.answer(whole(body))
    assert_failed(gateway, vendor, "raw", CHAT, BROKEN)


def test_an_error_is_found_in_the_middle_of_a_long_answer(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor
):
    message = {"role": "assistant", "content": "x" * 20_000}
    reply = {"choices": [{"message": message, "finish_reason": "error", "text": "y" * 5_000}], "usage": USAGE}
    raw.answer(whole(json.dumps(reply).encode()))
    assert_failed(gateway, vendor, "raw", CHAT, BROKEN)


FILTERED = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
BARE = b'{"error":{"message":"bare","code":429}}\n'
ANTHROPIC = b'{"type":"error","error":{"type":"rate_limit_error","message":"bare"}}\n\n'
FAILURES: list[tuple[bytes, str]] = [
    (b'data: {"message":"Internal server error"}\n\n', "INTERNAL_ERROR"),
    (b'data: {"status":"error","message":"m"}\n\n', "INTERNAL_ERROR"),
    (b'data: {"success":false,"message":"m"}\n\n', "INTERNAL_ERROR"),
    (b'data: {"fault":{"faultstring":"Rate limit quota violation"}}\n\n', "RESOURCE_EXHAUSTED"),
    (b'error: {"code":503,"message":"Loading model"}\n\n', "TEMPORARILY_UNAVAILABLE"),
    (b'error:{"code":503,"message":"Loading model"}\n', "TEMPORARILY_UNAVAILABLE"),
    (BARE, "RESOURCE_EXHAUSTED"),
    (ANTHROPIC, "RESOURCE_EXHAUSTED"),
    (b'event: Error\ndata: {"detail":"m"}\n\n', "INTERNAL_ERROR"),
    (b"event: error\ndata:\n\n", "INTERNAL_ERROR"),
    (b"event: error\n\n", "INTERNAL_ERROR"),
    (b"event: error\ndata: [DONE]\n\n", "INTERNAL_ERROR"),
    (b"event: ERROR\ndata: {}\n\n", "INTERNAL_ERROR"),
    (b"event: exception\ndata: busy\n\n", "TEMPORARILY_UNAVAILABLE"),
    (b"event: response.error\ndata: {}\n\n", "INTERNAL_ERROR"),
]
_STATUS = {code: status for status, code in (BROKEN, UNAVAILABLE, LIMITED)}


@pytest.mark.parametrize(("reply", "code"), FAILURES)
@pytest.mark.parametrize("end", [END + DONE, DONE, b""], ids=["finished", "done", "ended"])
def test_an_error_in_a_stream_is_never_a_regular_end(
    gateway: GatewayServer, raw: RawServer, reply: bytes, code: str, end: bytes
):
    raw.answer(streamed(chunk("a"), reply, end))
    answer = gateway.query("raw", STREAM)
    *_, last = (line for line in answer.text.split("\n\n") if line)
    assert json.loads(last.removeprefix("data: "))["error_code"] == code
    record = gateway.usage.last
    assert (record.completeness, record.error_code) == ("truncated", code)


@pytest.mark.parametrize(
    ("reply", "code"), [*FAILURES, *((FILTERED + reply, code) for reply, code in FAILURES)]
)
def test_a_failure_before_the_answer_is_an_error_status(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, reply: bytes, code: str
):
    raw.answer(streamed(reply, DONE))
    assert_failed(gateway, vendor, "raw", STREAM, (_STATUS[code], code))


@pytest.mark.parametrize("reply", [b"", b'data: {"choices":[]}\n\n', FILTERED, COUNTS, FILTERED * 3 + COUNTS])
def test_a_stream_with_done_as_its_first_event_is_no_answer(
    gateway: GatewayServer, raw: RawServer, vendor: Vendor, reply: bytes
):
    raw.answer(streamed(reply, DONE))
    assert_failed(gateway, vendor, "raw", {**STREAM, "stream_options": {"include_usage": True}}, UNAVAILABLE)


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_events_before_the_first_choice_are_passed_on_in_order(
    gateway: GatewayServer, raw: RawServer, count: int
):
    first = (
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":%d}]}\n\n' % n for n in range(count)
    )
    events = b"".join(first) + chunk("a") + FILTERED + END + DONE
    raw.answer(streamed(events))
    assert gateway.query("raw", STREAM).content == events
    assert gateway.usage.last.completeness == "complete"


def test_an_event_of_a_response_with_a_message_and_no_type_is_an_error(
    gateway: GatewayServer, raw: RawServer
):
    raw.answer(streamed(b'data: {"message":"Internal server error"}\n\n'))
    answer = gateway.post("responses", {"model": "raw", "input": "x", "stream": True})
    assert (answer.status_code, answer.json()["error_code"]) == BROKEN
    assert "Internal server error" in answer.json()["message"]
