"""An error within a reply of status 200 is a failure for the caller, for fallback, for the circuit breaker and in the records."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway import circuit_breaker
from serving_ui.gateway.circuit_breaker import MAX_FAILURES
from tests.gateway.conftest import CANARY, CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import DONE, END, chunk
from tests.gateway.test_responses import BEGIN, DELTA, RESPONSE, named_event
from tests.gateway.test_retries import GOOD
from tests.support import event_stream_frames
from tests.support.recordings import RECORDINGS
from tests.support.vendor import EVENT_STREAM, Answer, Vendor, running_vendor

STREAM = {**CHAT, "stream": True}
BUSY = {"error": {"message": f"upstream busy, {CANARY}", "code": 502}}
UNAVAILABLE = (503, "TEMPORARILY_UNAVAILABLE")


def event(data: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def vendors(gateway: GatewayServer) -> Iterator[list[Vendor]]:
    """Two vendors, the second as the fallback of the first, behind the endpoints `chat-2`, `text-2` and `vectors-2`."""
    with ExitStack() as stack:
        found = [stack.enter_context(running_vendor()) for _ in range(2)]
        for name, task in (
            ("chat-2", Task.CHAT),
            ("text-2", Task.COMPLETIONS),
            ("vectors-2", Task.EMBEDDINGS),
        ):
            served = tuple(
                entity(base=vendor.url, task=task, name=f"model-{number}")
                for number, vendor in enumerate(found)
            )
            routes = (("model-0", 100), ("model-1", 0))
            gateway.add(endpoint(name, served[0], entities=served, routes=routes, fallback=True))
        yield found


@pytest.fixture
def model(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """A vendor behind the endpoint `model`, without a fallback."""
    gateway.add(endpoint("model", entity(base=vendor.url)))
    return vendor


PATHS: list[tuple[str, dict[str, Any]]] = [
    ("chat-2/invocations", CHAT),
    ("chat/completions", {**CHAT, "model": "chat-2"}),
    ("text-2/invocations", {"prompt": "Say hello."}),
    ("completions", {"prompt": "Say hello.", "model": "text-2"}),
    ("vectors-2/invocations", {"input": "Say hello."}),
    ("embeddings", {"input": "Say hello.", "model": "vectors-2"}),
    ("responses", {"input": "Say hello.", "model": "chat-2"}),
]


@pytest.mark.parametrize(("path", "body"), PATHS, ids=[path for path, _body in PATHS])
def test_a_reported_failure_leads_to_a_fallback_on_every_path(
    gateway: GatewayServer, vendors: list[Vendor], path: str, body: dict[str, Any]
):
    first, second = vendors
    first.set_answers(Answer.json(BUSY))
    second.set_answers(GOOD)
    answer = gateway.post(path, body)
    assert (answer.status_code, answer.headers["served-model-name"]) == (200, "model-1")
    assert (len(first.requests), len(second.requests)) == (1, 1)
    record = gateway.usage.last
    assert (record.completeness, record.fallbacks, record.retries) == ("complete", 1, 0)


@pytest.mark.parametrize("path", ["chat-2/invocations", "text-2/invocations", "responses"])
def test_a_failure_in_the_first_event_leads_to_a_fallback(
    gateway: GatewayServer, vendors: list[Vendor], path: str
):
    first, second = vendors
    first.set_answers(Answer.stream(b": busy\n\n", event(BUSY)))
    second.set_answers(
        Answer.stream(BEGIN, named_event("response.completed", response=RESPONSE), chunk("a"), END, DONE)
    )
    body = {"input": "x", "prompt": "x", "model": "chat-2", **STREAM}
    answer = gateway.post(path, body)
    assert (answer.status_code, answer.headers["served-model-name"]) == (200, "model-1")
    assert b"error" not in answer.content.replace(b'"error": null', b"")
    assert gateway.usage.last.fallbacks == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": "text/html"}, (b"<html>Maintenance</html>",)),
        Answer(200, {"Content-Type": "application/json"}, (b'{"choices": [{"message": {"content": "Hel',)),
        Answer(200, {"Content-Type": "application/json"}, (b'{"choices": [{"message": {"content": "x"}}',)),
        Answer(200, {"Content-Type": "application/json"}, (b"",)),
        Answer(200, {"Content-Type": "application/json"}, (b"[]",)),
        Answer(200, {"Content-Type": "application/json"}, (b'"ok"',)),
        Answer(204),
    ],
    ids=["a web page", "cut", "cut at a brace", "empty", "a list", "a text", "nothing"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_unreadable_answer_leads_to_a_fallback(
    gateway: GatewayServer, vendors: list[Vendor], answer: Answer, stream: bool
):
    first, second = vendors
    first.set_answers(answer)
    second.set_answers(Answer.stream(chunk("a"), END, DONE) if stream else GOOD)
    assert gateway.query("chat-2", {**CHAT, "stream": stream}).headers["served-model-name"] == "model-1"
    second.set_answers(answer)
    failed = gateway.query("chat-2", {**CHAT, "stream": stream})
    assert failed.status_code in {500, 503}
    assert failed.json()["message"].endswith((".", "to."))
    assert [each.completeness for each in gateway.usage.records] == ["complete", "failed"]


def test_a_reported_client_error_leads_to_no_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    first, second = vendors
    first.set_answers(Answer.json({"error": {"message": "Too long.", "code": "context_length_exceeded"}}))
    answer = gateway.query("chat-2")
    assert (answer.status_code, len(second.requests)) == (400, 0)
    assert "Too long." in answer.json()["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (BUSY, UNAVAILABLE),
        ({"error": {"message": "x", "type": "overloaded_error"}}, UNAVAILABLE),
        ({"error": "server busy"}, UNAVAILABLE),
        ({"error": {"message": "x", "code": "429"}}, (429, "RESOURCE_EXHAUSTED")),
        ({"detail": "Too Many Requests"}, (429, "RESOURCE_EXHAUSTED")),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, (400, "BAD_REQUEST")),
        ({"error": {"message": "x", "code": 504}}, (504, "DEADLINE_EXCEEDED")),
        ({"error": {"message": "x"}}, (500, "INTERNAL_ERROR")),
        ({"object": "error", "message": "x", "code": 404}, (400, "BAD_REQUEST")),
        ({"error": {"message": "x", "type": "authentication_error"}}, (400, "BAD_REQUEST")),
    ],
)
def test_a_reported_failure_is_answered_like_the_corresponding_status(
    gateway: GatewayServer, model: Vendor, reply: Any, expected: tuple[int, str], stream: bool
):
    model.set_answers(Answer.stream(event(reply), DONE) if stream else Answer.json(reply), GOOD)
    answer = gateway.query("model", {**CHAT, "stream": stream})
    assert (answer.status_code, answer.json()["error_code"]) == expected
    assert "The provider said: " in answer.json()["message"]
    assert CANARY not in answer.text
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (expected[0], "failed", expected[1])
    assert (record.tokens_source, record.retries, len(model.requests)) == ("none", 0, 1)


def test_a_json_error_instead_of_a_stream_is_an_error_status(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer.json(BUSY))
    answer = gateway.query("model", STREAM)
    assert (answer.status_code, answer.json()["error_code"]) == UNAVAILABLE
    assert "upstream busy, [secret]" in answer.json()["message"]


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_failure_in_events_of_another_content_type_is_found(
    gateway: GatewayServer, model: Vendor, kind: str
):
    model.set_answers(Answer.stream(b"\n", chunk("a"), event(BUSY), DONE, kind=kind))
    answer = gateway.query("model", STREAM)
    assert (answer.status_code, answer.json()["error_code"]) == UNAVAILABLE


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_in_a_compressed_answer_is_found(gateway: GatewayServer, model: Vendor, stream: bool):
    reply = gzip.compress(event(BUSY) if stream else json.dumps(BUSY).encode())
    kind = EVENT_STREAM if stream else "application/json; charset=utf-8"
    model.set_answers(
        Answer(200, {"Content-Type": kind, "Content-Encoding": "gzip"}, (reply,), streamed=stream)
    )
    answer = gateway.query("model", {**CHAT, "stream": stream})
    assert (answer.status_code, answer.json()["error_code"]) == UNAVAILABLE
    assert "Retry-After" not in answer.headers
    assert len(model.requests) == 1


def test_tokens_of_a_whole_answer_instead_of_a_stream_are_counted(gateway: GatewayServer, model: Vendor):
    model.set_answers(GOOD)
    assert gateway.query("model", STREAM).status_code == 501
    record = gateway.usage.last
    assert (record.completeness, record.tokens_in, record.tokens_out) == ("failed", 3, 2)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (event(BUSY), "TEMPORARILY_UNAVAILABLE"),
        (event({"message": "It broke."}, "error"), "INTERNAL_ERROR"),
        (b"event: error\ndata: Too many requests\n\n", "RESOURCE_EXHAUSTED"),
        (event({"choices": [{"delta": {}, "finish_reason": "error"}]}), "INTERNAL_ERROR"),
        (
            event({"choices": [{"delta": {"content": ""}, "error": {"code": 429, "message": "x"}}]}),
            "RESOURCE_EXHAUSTED",
        ),
        (event({"type": "error", "error": {"type": "overloaded_error"}}), "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_a_failure_after_the_first_event_is_the_last_event(
    gateway: GatewayServer, model: Vendor, reply: bytes, code: str
):
    model.set_answers(Answer.stream(chunk("Twelve chars"), reply, END, DONE))
    answer = gateway.query("model", STREAM)
    *_, last = (line for line in answer.text.split("\n\n") if line)
    assert json.loads(last.removeprefix("data: "))["error_code"] == code
    assert b"[DONE]" not in answer.content and CANARY not in answer.text
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (200, "truncated", code)


@pytest.mark.parametrize("stream", [False, True])
def test_consecutive_reported_failures_open_the_circuit(
    gateway: GatewayServer, model: Vendor, monkeypatch: pytest.MonkeyPatch, stream: bool
):
    monkeypatch.setattr(circuit_breaker, "FIRST_OPEN_SECONDS", 60.0)
    model.set_answers(Answer.stream(event(BUSY)) if stream else Answer.json(BUSY))
    for count in range(MAX_FAILURES):
        assert not gateway.gateway.client.circuit(model.url).is_open, count
        gateway.query("model", {**CHAT, "stream": stream})
    answer = gateway.query("model", {**CHAT, "stream": stream})
    assert "in a row" in answer.json()["message"]
    assert len(model.requests) == MAX_FAILURES


def test_a_reported_rate_limit_closes_the_circuit(gateway: GatewayServer, model: Vendor):
    circuit = gateway.gateway.client.circuit(model.url)
    circuit.record_failure(0)
    model.set_answers(Answer.json({"error": {"message": "x", "code": 429}}))
    gateway.query("model")
    assert circuit.failures == 0


def test_the_first_event_of_a_probe_closes_the_circuit(gateway: GatewayServer, model: Vendor):
    circuit = gateway.gateway.client.circuit(model.url)
    for _ in range(MAX_FAILURES):
        circuit.record_failure(-1000.0)
    gate = threading.Event()
    model.set_answers(Answer.stream(chunk("a"), gate, END, DONE))
    with gateway.query("model", STREAM, stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert not circuit.is_open
        gate.set()
        assert b"data: [DONE]" in list(lines)


VENDORS: list[tuple[str, Answer, tuple[int, str]]] = [
    ("anthropic-stream-hello", Answer.stream(event({"type": "error", "error": {"type": "overloaded_error", "message": "Words."}}, "error")), UNAVAILABLE),
    ("anthropic-stream-hello", Answer.stream(event({"type": "error", "error": {"type": "rate_limit_error", "message": "Words."}}, "error")), (429, "RESOURCE_EXHAUSTED")),
    ("anthropic-hello", Answer.json({"type": "error", "error": {"type": "overloaded_error", "message": "Words."}}), UNAVAILABLE),
    ("amazon-bedrock-stream-hello", Answer.stream(event_stream_frames.event("throttlingException", {"message": "Words."}), kind=event_stream_frames.CONTENT_TYPE), (429, "RESOURCE_EXHAUSTED")),
    ("amazon-bedrock-stream-hello", Answer.stream(event_stream_frames.event("serviceUnavailableException", {"message": "Words."}), kind=event_stream_frames.CONTENT_TYPE), UNAVAILABLE),
    ("amazon-bedrock-stream-hello", Answer.stream(event_stream_frames.event("modelStreamErrorException", {"message": "Words."}), kind=event_stream_frames.CONTENT_TYPE), (500, "INTERNAL_ERROR")),
    ("amazon-bedrock-stream-hello", Answer.stream(event_stream_frames.event("validationException", {"message": "Words."}), kind=event_stream_frames.CONTENT_TYPE), (400, "BAD_REQUEST")),
    ("amazon-bedrock-stream-hello", Answer.stream(event_stream_frames.frame({":message-type": "error", ":error-code": "ThrottlingException", ":error-message": "Words."}), kind=event_stream_frames.CONTENT_TYPE), (429, "RESOURCE_EXHAUSTED")),
    ("amazon-bedrock-hello", Answer.json({"Output": {"__type": "x#UnknownOperationException"}, "message": "Words.", "__type": "ServiceUnavailableException"}), UNAVAILABLE),
    ("google-cloud-vertex-ai-stream-hello", Answer.stream(event({"error": {"code": 429, "message": "Words.", "status": "RESOURCE_EXHAUSTED"}})), (429, "RESOURCE_EXHAUSTED")),
    ("google-cloud-vertex-ai-stream-hello", Answer.json([{"error": {"code": 503, "message": "Words.", "status": "UNAVAILABLE"}}]), UNAVAILABLE),
    ("google-cloud-vertex-ai-hello", Answer.json([{"error": {"code": 503, "message": "Words.", "status": "UNAVAILABLE"}}]), UNAVAILABLE),
    ("cohere-stream-hello", Answer.stream(event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "Words."}})), (500, "INTERNAL_ERROR")),
    ("cohere-stream-hello", Answer.stream(event({"type": "message-end", "delta": {"finish_reason": "TIMEOUT", "error": "Words."}})), (504, "DEADLINE_EXCEEDED")),
    ("cohere-hello", Answer.json({"id": "x", "message": "Words."}), (500, "INTERNAL_ERROR")),
    ("ai21labs-stream-hello", Answer.stream(event({"detail": "Too many requests. Words."})), (429, "RESOURCE_EXHAUSTED")),
    ("ai21labs-hello", Answer.json({"detail": {"error": ["Words."]}}), (500, "INTERNAL_ERROR")),
    ("databricks-model-serving-hello", Answer.json({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "Words."}), UNAVAILABLE),
    ("databricks-model-serving-stream-hello", Answer.stream(event({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Words."})), (429, "RESOURCE_EXHAUSTED")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "expected"), VENDORS)
def test_each_vendors_errors_are_mapped_to_a_status(
    gateway: GatewayServer,
    vendor: Vendor,
    name: str,
    answer: Answer,
    expected: tuple[int, str],
):
    recorded = next(each for each in RECORDINGS if str(each) == name)
    config = recorded.config(vendor.url)
    gateway.add_endpoint(vendor, provider=recorded.provider.name, model=recorded.model, config=config)
    token = Answer.json({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
    vendor.set_answers(token, at="/token")
    vendor.set_answers(answer)
    got = gateway.query("vendor", recorded.openai_request)
    assert (got.status_code, got.json()["error_code"]) == expected
    assert "Words." in got.json()["message"]
    assert gateway.usage.last.completeness == "failed"


def test_an_unusable_answer_is_a_failure_with_its_token_counts(gateway: GatewayServer, vendor: Vendor):
    recorded = next(each for each in RECORDINGS if str(each) == "amazon-bedrock-hello")
    gateway.add_endpoint(
        vendor, provider="amazon-bedrock", model=recorded.model, config=recorded.config(vendor.url)
    )
    vendor.set_answers(Answer.json({**recorded.reply, "stopReason": "malformed_tool_use"}))
    assert gateway.query("vendor", recorded.openai_request).status_code == 500
    record = gateway.usage.last
    assert (record.completeness, record.tokens_source) == ("failed", "reported")
    assert (record.tokens_in, record.tokens_cached, record.tokens_cache_written) == (161, 40, 100)


FAILED = {
    **RESPONSE,
    "status": "failed",
    "error": {"code": "rate_limit_exceeded", "message": f"Slow, {CANARY}"},
}


def test_a_failed_response_ends_the_stream_and_is_recorded_as_a_failure(
    gateway: GatewayServer, model: Vendor
):
    model.set_answers(
        Answer.stream(BEGIN, DELTA, named_event("response.failed", sequence_number=2, response=FAILED), DONE)
    )
    answer = gateway.post("responses", {"model": "model", "input": "x", "stream": True})
    assert answer.content.startswith(BEGIN + DELTA)
    name, data = answer.content.removeprefix(BEGIN + DELTA).decode().strip().split("\n")
    reply = json.loads(data.removeprefix("data: "))
    assert (name, reply["type"], reply["response"]["error"]["code"]) == (
        "event: response.failed", "response.failed", "rate_limit_exceeded"
    )  # fmt: skip
    assert reply["response"]["error"]["message"].endswith("The provider said: Slow, [secret]")
    assert CANARY not in answer.text
    record = gateway.usage.last
    assert (record.completeness, record.error_code) == ("truncated", "RESOURCE_EXHAUSTED")
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (11, 3, "reported")


def test_the_openai_client_reads_the_event_of_a_failed_response(gateway: GatewayServer, model: Vendor):
    model.set_answers(
        Answer.stream(BEGIN, named_event("response.failed", sequence_number=1, response=FAILED))
    )
    client = openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)
    *_, last = client.responses.create(model="model", input="x", stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None and last.response.error.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "answer", [Answer.json(FAILED), Answer.stream(named_event("response.failed", response=FAILED))]
)
def test_a_response_that_failed_before_it_began_is_an_error_status(
    gateway: GatewayServer, model: Vendor, answer: Answer
):
    model.set_answers(answer)
    body = {
        "model": "model",
        "input": "x",
        "stream": b"stream" in answer.headers["Content-Type"].encode(),
    }
    got = gateway.post("responses", body)
    assert (got.status_code, got.json()["error_code"]) == (429, "RESOURCE_EXHAUSTED")
    assert gateway.usage.last.completeness == "failed"


def test_an_error_field_of_null_is_no_failure(gateway: GatewayServer, model: Vendor):
    whole = {"error": None, "choices": [{"message": {"content": "error"}, "finish_reason": "stop"}]}
    model.set_answers(Answer.json(whole))
    assert gateway.query("model").json() == whole
    streamed = event({"error": None, "choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    model.set_answers(Answer.stream(streamed, DONE))
    assert gateway.query("model", STREAM).content == streamed + DONE
    assert {each.completeness for each in gateway.usage.records} == {"complete"}


def test_an_error_is_found_at_the_beginning_and_at_the_end_of_a_long_answer(
    gateway: GatewayServer, model: Vendor
):
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 300_000}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    for reply in (
        {"error": BUSY["error"], "choices": [choice], "usage": usage},
        {"choices": [{**choice, "finish_reason": "error", "error": BUSY["error"]}], "usage": usage},
    ):
        model.set_answers(Answer.json(reply))
        assert gateway.query("model").status_code == 503
    assert [each.tokens_in for each in gateway.usage.records] == [3, 3]
