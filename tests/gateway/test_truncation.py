"""An answer that ends early never looks complete, neither to the caller nor in the records."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from serving_ui.gateway.timeouts import Timeouts
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import DONE, END, chunk
from tests.support.raw_server import RawServer, raw_server
from tests.support.vendor import Answer, Vendor

STREAM = {**CHAT, "stream": True}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
BEGUN = chunk("Twelve chars")


@pytest.fixture
def model(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    gateway.add(endpoint("model", entity(base=vendor.url)))
    return vendor


@pytest.fixture
def raw(gateway: GatewayServer) -> Iterator[RawServer]:
    with raw_server() as server:
        gateway.add(endpoint("raw", entity(base=server.url)))
        yield server


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer.stream(BEGUN, cut=True), "TEMPORARILY_UNAVAILABLE"),
        (Answer.stream(BEGUN), "TEMPORARILY_UNAVAILABLE"),
        (Answer.stream(BEGUN, END, cut=True), "TEMPORARILY_UNAVAILABLE"),
        (Answer.stream(BEGUN, b"data: {garbage\n\n", END, DONE), "TEMPORARILY_UNAVAILABLE"),
        (Answer.stream(BEGUN, b"data: [1]\n\n", END, DONE), "TEMPORARILY_UNAVAILABLE"),
        (Answer.stream(BEGUN, *([b"x" * 2**20] * 9), END, DONE), "TEMPORARILY_UNAVAILABLE"),
        (
            Answer.stream(BEGUN, b'data: {"error": {"message": "overloaded"}}\n\n', DONE),
            "TEMPORARILY_UNAVAILABLE",
        ),
    ],
    ids=["cut", "stopped", "cut after its reason", "garbled", "no object", "an endless event", "it says so"],
)
def test_a_stream_that_ends_early_ends_with_an_error_and_is_recorded_as_truncated(
    gateway: GatewayServer, model: Vendor, answer: Answer, code: str
):
    model.set_answers(answer)
    got = gateway.query("model", STREAM)
    assert got.status_code == 200
    *before, last = [line for line in got.content.split(b"\n\n") if line]
    assert before[0] + b"\n\n" == BEGUN
    assert b"[DONE]" not in got.content
    assert json.loads(last.removeprefix(b"data: "))["error_code"] == code
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (200, "truncated", code)
    assert (record.tokens_source, record.tokens_out) == ("estimated", (12 + 1) // 4)


def test_a_stream_that_ends_before_its_first_event_is_recorded_as_failed(
    gateway: GatewayServer, model: Vendor
):
    model.set_answers(Answer.stream(b": nothing yet\n\n", cut=True))
    assert gateway.query("model", STREAM).status_code == 503
    record = gateway.usage.last
    assert (record.status, record.completeness, record.tokens_source) == (503, "failed", "estimated")


def test_a_stream_that_exceeds_the_total_timeout_is_recorded_as_truncated(
    gateway: GatewayServer, raw: RawServer
):
    gateway.add(endpoint("raw", entity(base=raw.url), timeouts=Timeouts(total=2)))
    part = b"%x\r\n%b\r\n" % (len(BEGUN), BEGUN)
    raw.answer(HEAD + b"transfer-encoding: chunked\r\n\r\n" + part, later=(part,) * 600)
    got = gateway.query("raw", STREAM)
    assert b"DEADLINE_EXCEEDED" in got.content
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (200, "truncated", "DEADLINE_EXCEEDED")
    assert 1_900 < record.total_ms < 60_000  # the whole stream would take 100 s


def test_a_stream_without_done_is_complete_with_a_finish_reason(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer.stream(BEGUN, END))
    assert gateway.query("model", STREAM).content == BEGUN + END + DONE
    assert gateway.usage.last.completeness == "complete"


def test_a_reply_that_is_cut_is_recorded_as_failed(gateway: GatewayServer, model: Vendor):
    model.set_answers(
        Answer(200, {"Content-Type": "application/json"}, (b'{"choices": [{"message": {}}]}',), cut=True)
    )
    assert gateway.query("model").status_code == 503
    record = gateway.usage.last
    assert (record.status, record.completeness) == (503, "failed")


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n"], ids=["1.0", "1.1"]
)
def test_a_reply_whose_json_is_incomplete_is_503(gateway: GatewayServer, raw: RawServer, head: bytes):
    raw.answer(head + b'{"choices": [{')
    answer = gateway.query("raw")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "ended before it was complete" in answer.json()["message"]
    assert gateway.usage.last.completeness == "failed"


def test_a_reply_shorter_than_its_content_length_is_an_error(gateway: GatewayServer, raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{}")
    assert gateway.query("raw").status_code == 503
    assert gateway.usage.last.completeness == "failed"
