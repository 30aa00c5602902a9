"""A request that a provider has received is counted even without a usable answer, because it may have cost money."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from serving_ui.gateway.record import Record
from serving_ui.gateway.snapshot import Limit
from serving_ui.gateway.timeouts import Timeouts
from tests.gateway.conftest import CHAT, GatewayServer, disconnect_when, endpoint, entity
from tests.gateway.test_records import chunk
from tests.gateway.test_retries import GOOD, refusal
from tests.support.raw_server import RawServer, raw_server
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import DEADLINE, free_port, wait_until

LONG = {"messages": [{"role": "user", "content": "x" * 200}], "max_tokens": 45}
"""50 input tokens, and up to 45 output tokens."""
SHORT = {**CHAT, "max_tokens": 80}
"""2 input tokens, and up to 80 output tokens."""
LIMITS = (Limit("endpoint", 100, "tokens"),)
_names = count()
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def name() -> str:
    """The name of a new endpoint, whose limit windows are empty."""
    return f"counted-{next(_names)}"


@pytest.fixture
def silent(gateway: GatewayServer, vendor: Vendor, name: str) -> Vendor:
    """A vendor behind the endpoint that receives the request and does not answer it."""
    vendor.set_answers(Answer.stream(chunk("a"), gate=threading.Event()))
    gateway.add(endpoint(name, entity(base=vendor.url), limits=LIMITS))
    return vendor


@pytest.fixture
def raw(gateway: GatewayServer, name: str) -> Iterator[RawServer]:
    """A server behind the endpoint that receives the request and closes the connection."""
    with raw_server() as server:
        server.answer(b"")
        gateway.add(endpoint(name, entity(base=server.url), limits=LIMITS))
        yield server


def disconnect_when_received(gateway: GatewayServer, vendor: Vendor, name: str, body: Any) -> None:
    """Send a query, and disconnect as soon as the vendor has received it or the gateway has refused it."""
    received, recorded = len(vendor.requests), len(gateway.usage.records)
    disconnect_when(
        lambda: len(vendor.requests) > received or len(gateway.usage.records) > recorded, gateway, name, body
    )
    wait_until(lambda: len(gateway.usage.records) > recorded)


def counted(record: Record) -> tuple[int, int, str]:
    return record.tokens_in, record.tokens_out, record.tokens_source


@BOTH
@pytest.mark.parametrize(("body", "tokens"), [(LONG, 50), (SHORT, 2)], ids=["long", "short"])
def test_a_disconnect_before_the_answer_counts_the_input_tokens(
    gateway: GatewayServer, name: str, silent: Vendor, *, body: dict[str, Any], tokens: int, stream: bool
):
    """The output so far is unknown, so no reserved token is returned to the limit."""
    for _ in range(10):
        disconnect_when_received(gateway, silent, name, {**body, "stream": stream})
    assert len(silent.requests) == 1
    first, *others = gateway.usage.records
    assert (first.status, first.completeness) == (499, "client_left")
    assert counted(first) == (tokens, 0, "estimated")
    assert {each.completeness for each in others} == {"limited"}
    assert silent.requests[0].gone.wait(DEADLINE)


@BOTH
def test_a_request_whose_connection_is_cut_counts_the_input_tokens(
    gateway: GatewayServer, name: str, raw: RawServer, stream: bool
):
    statuses = [gateway.query(name, {**LONG, "stream": stream}).status_code for _ in range(3)]
    assert (statuses, len(raw.requests)) == ([503, 429, 429], 1)
    assert gateway.usage.records[0].completeness == "failed"
    assert counted(gateway.usage.records[0]) == (50, 0, "estimated")


@BOTH
def test_a_request_that_times_out_counts_the_input_tokens(
    gateway: GatewayServer, name: str, silent: Vendor, stream: bool
):
    short = Timeouts(first_byte=1.5)
    gateway.add(endpoint(name, entity(base=silent.url), limits=LIMITS, timeouts=short))
    statuses = [gateway.query(name, {**LONG, "stream": stream}).status_code for _ in range(3)]
    assert (statuses, len(silent.requests)) == ([504, 429, 429], 1)
    assert gateway.usage.records[0].completeness == "failed"
    assert counted(gateway.usage.records[0]) == (50, 0, "estimated")


UNUSABLE = {
    "cut": Answer(200, {"Content-Type": "application/json"}, (b'{"choices": [',), cut=True),
    "page": Answer(200, {"Content-Type": "text/html"}, (b"<html></html>",)),
    "packed": Answer(200, {"Content-Encoding": "unknown"}, (b"x",)),
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_reply_counts_the_input_tokens(
    gateway: GatewayServer, name: str, silent: Vendor, answer: Answer
):
    silent.set_answers(answer)
    assert gateway.query(name, LONG).status_code in {500, 501, 503}
    assert counted(gateway.usage.records[0]) == (50, 0, "estimated")
    assert gateway.query(name, LONG).status_code == 429


REJECTED = [
    *((refusal(status), stream) for status in (400, 401, 429, 500, 503) for stream in (False, True)),
    (Answer.json({"error": {"message": "x", "code": 503}}), False),
    (Answer.stream(b'data: {"error": {"message": "x", "code": 429}}\n\n'), True),
]


@pytest.mark.parametrize(("answer", "stream"), REJECTED, ids=range(len(REJECTED)))
def test_a_request_that_the_provider_rejects_counts_no_tokens(
    gateway: GatewayServer, name: str, silent: Vendor, answer: Answer, stream: bool
):
    silent.set_answers(answer)
    for _ in range(3):
        assert gateway.query(name, {**LONG, "stream": stream}).status_code >= 400
    assert len(silent.requests) == 3
    assert {counted(each) for each in gateway.usage.records} == {(0, 0, "none")}


def test_a_request_that_reaches_no_provider_counts_no_tokens(gateway: GatewayServer, name: str):
    gateway.add(endpoint(name, entity(base=f"http://127.0.0.1:{free_port()}"), limits=LIMITS))
    assert [gateway.query(name, LONG).status_code for _ in range(2)] == [503, 503]
    assert {counted(each) for each in gateway.usage.records} == {(0, 0, "none")}


@pytest.mark.parametrize(
    ("second", "status", "expected"),
    [
        (GOOD, 200, (53, 2, "mixed")),
        (refusal(500), 500, (50, 0, "estimated")),
        (None, 503, (100, 0, "estimated")),
    ],
    ids=["answer", "refusal", "cut"],
)
def test_each_attempt_that_a_model_received_is_counted(
    gateway: GatewayServer,
    name: str,
    raw: RawServer,
    vendor: Vendor,
    *,
    second: Answer | None,
    status: int,
    expected: tuple[int, int, str],
):
    """The first model closes the connection; the second answers with 3 and 2 tokens, rejects the request, or closes the connection, too."""
    if second is not None:
        vendor.set_answers(second)
    bases = (raw.url, vendor.url if second else raw.url)
    served = tuple(entity(base=base, name=f"model-{number}") for number, base in enumerate(bases))
    gateway.add(
        endpoint(name, served[0], entities=served, fallback=True, routes=(("model-0", 100),), limits=LIMITS)
    )  # fmt: skip
    assert [gateway.query(name, LONG).status_code for _ in range(2)] == [status, 429]
    assert counted(gateway.usage.records[0]) == expected


def test_disconnected_calls_do_not_lower_the_average_output_that_is_reserved(
    gateway: GatewayServer, name: str, silent: Vendor
):
    """A call without max_tokens reserves the average output of recent calls; calls that were cancelled early must not lower it."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]
    answered = Answer.json({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 400}})
    gateway.add(endpoint(name, entity(base=silent.url), limits=(Limit("endpoint", 3000, "tokens"),)))
    silent.set_answers(answered)
    assert gateway.query(name).status_code == 200
    silent.set_answers(Answer.stream(chunk("a"), gate=threading.Event()))
    for _ in range(10):
        disconnect_when_received(gateway, silent, name, CHAT)
    assert [each.completeness for each in gateway.usage.records] == [
        "complete",
        *["client_left"] * 6,
        *["limited"] * 4,
    ]
