"""Every query that reaches an endpoint has one record, written before its answer is complete: principal, request, outcome, tokens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from typing import Any

import pytest

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.caller import Caller, ClientDisconnected
from serving_ui.gateway.snapshot import Limit
from serving_ui.lib.request import QUERY_BODY
from tests.gateway.conftest import CHAT, OWNER, GatewayServer, disconnect_when, endpoint, entity
from tests.gateway.test_retries import GOOD, REPLY, refusal
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import DEADLINE, wait_until

STREAM = {**CHAT, "stream": True}
PROMPT = "Say hello."
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chunk(text: str = "", **more: Any) -> bytes:
    content = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}
    return f"data: {json.dumps(content)}\n\n".encode()


END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
COUNTS = f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n".encode()
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def model(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """A vendor behind the endpoint `model`, in config version 7."""
    vendor.set_answers(GOOD)
    gateway.add(endpoint("model", entity(base=vendor.url), config_version=7))
    return vendor


def test_a_record_is_written_before_the_answer_is_complete(gateway: GatewayServer, model: Vendor):
    for count in range(1, 4):
        answer = gateway.query("model", headers={"X-Request-Id": f"mine-{count}"})
        assert [record.request_id for record in gateway.usage.records] == [
            f"mine-{n + 1}" for n in range(count)
        ]
        assert answer.headers["x-request-id"] == f"mine-{count}"


def test_a_record_has_the_principal_the_request_and_the_outcome(gateway: GatewayServer, model: Vendor):
    answer = gateway.query("model")
    record = gateway.usage.last
    assert (record.endpoint, record.endpoint_id, record.entity, record.config_version) == (
        "model",
        "id-model",
        "entity-1",
        7,
    )
    assert (record.principal_id, record.principal) == (OWNER.id, OWNER.email)
    assert (record.task, record.provider, record.model) == ("llm/v1/chat", "openai", "gpt-4o")
    assert (record.status, record.completeness, record.error_code, record.streamed) == (
        200,
        "complete",
        "",
        False,
    )
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (3, 2, "reported")
    assert 0 < record.overhead_ms <= record.total_ms == record.first_byte_ms
    assert record.overhead_ms == pytest.approx(float(answer.headers["x-gateway-overhead-ms"]), abs=500)


def test_fields_for_this_server_are_recorded_and_not_forwarded(gateway: GatewayServer, model: Vendor):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = {"client_request_id": "order-7", "usage_context": {"team": "search"}, "extra_params": {"seed": 3}}
    gateway.query("model", {**CHAT, **own}, headers={"traceparent": trace})
    assert model.requests[0].json == {"model": "gpt-4o", "seed": 3, **CHAT}
    record = gateway.usage.last
    assert (record.client_request_id, record.usage_context, record.traceparent) == (
        "order-7",
        {"team": "search"},
        trace,
    )


@pytest.mark.parametrize(
    "own",
    [{"client_request_id": 7}, {"client_request_id": "x" * 257}, {"usage_context": {"a": 1}}, {"usage_context": []}, {"usage_context": {"a": "x" * 9000}}],
    ids=str,
)  # fmt: skip
def test_values_that_cannot_be_recorded_are_refused(gateway: GatewayServer, model: Vendor, own: Any):
    answer = gateway.query("model", {**CHAT, **own})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert next(iter(own)) in answer.json()["message"]
    assert not model.requests


def test_an_invalid_traceparent_is_not_recorded(gateway: GatewayServer, model: Vendor):
    gateway.query("model", headers={"traceparent": "00-zz-1-01"})
    assert gateway.usage.last.traceparent == ""


def test_a_refusal_by_a_limit_is_recorded(gateway: GatewayServer, model: Vendor):
    gateway.add(endpoint("none", entity(base=model.url), limits=(Limit("endpoint", 0),)))
    assert gateway.query("none").status_code == 429
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (
        429,
        "limited",
        "REQUEST_LIMIT_EXCEEDED",
    )
    assert record.tokens_source == "none"


@pytest.mark.parametrize("body", [b"{", {}, {"messages": []}, {**CHAT, "stream": "yes"}], ids=str)
def test_an_unsupported_request_is_recorded(gateway: GatewayServer, model: Vendor, body: Any):
    assert gateway.query("model", body).status_code == 400
    record = gateway.usage.last
    assert (record.status, record.completeness, record.tokens_in) == (400, "failed", 0)


def test_a_body_that_is_too_large_is_recorded_and_not_sent(gateway: GatewayServer, model: Vendor):
    content = b'{"messages": "' + b"x" * (4 * 1024 * 1024) + b'"}'
    assert gateway.query("model", content).status_code == 400
    assert (gateway.usage.last.completeness, model.requests) == ("failed", [])


def test_a_failure_of_the_provider_is_recorded(gateway: GatewayServer, model: Vendor):
    model.set_answers(refusal(500))
    assert gateway.query("model").status_code == 500
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (500, "failed", "INTERNAL_ERROR")
    assert (record.entity, record.tokens_source) == ("entity-1", "none")


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("model/invocations", "wrong"),
        ("model/invocations", "token-stranger"),
        ("nothing/invocations", "token-owner"),
    ],
)
def test_a_query_that_reaches_no_endpoint_is_not_recorded(
    gateway: GatewayServer, model: Vendor, path: str, token: str
):
    assert gateway.post(path, CHAT, token=token).status_code in {401, 404}
    assert gateway.usage.records == []


@pytest.mark.parametrize("is_complete", [True, False])
def test_the_time_to_receive_the_request_is_not_counted(monkeypatch: pytest.MonkeyPatch, is_complete: bool):
    now = [100.0]
    monkeypatch.setattr("serving_ui.gateway.caller.perf_counter", lambda: now[0])
    parts = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}"} if is_complete else {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        now[0] += 30
        return parts.pop(0)

    async def send(message: Any) -> None: ...

    caller = Caller({"headers": [], "method": "POST", "path": "/"}, receive, send)
    now[0] += 2
    with contextlib.suppress(ClientDisconnected):
        assert asyncio.run(caller.body(QUERY_BODY)) == b"{}"
    now[0] += 3
    assert (caller.overhead_ms(), caller.elapsed_ms()) == (5000, 5000)


def test_a_disconnect_before_the_request_is_complete_is_recorded(gateway: GatewayServer, model: Vendor):
    head = "POST /serving-endpoints/model/invocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-owner\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as caller:
        caller.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
    record = gateway.usage.last
    assert (record.status, record.completeness, record.tokens_source) == (499, "client_left", "none")
    assert not model.requests


def test_a_disconnect_before_the_answer_is_recorded(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()))
    disconnect_when(lambda: model.requests, gateway, "model")
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (499, "client_left", "CANCELLED")
    assert model.requests[0].gone.wait(DEADLINE)
    wait_until(lambda: len(gateway.usage.records) == 1)


def test_a_disconnect_during_a_stream_is_recorded_with_the_tokens_so_far(
    gateway: GatewayServer, model: Vendor
):
    model.set_answers(Answer.stream(chunk("Eight ch"), chunk("aracters"), threading.Event(), END, DONE))
    with gateway.query("model", STREAM, stream=True) as answer:
        lines = answer.iter_lines()
        while b"aracters" not in next(lines):
            pass
    record = gateway.usage.last
    assert (record.status, record.completeness) == (499, "client_left")
    assert (record.tokens_source, record.tokens_out) == ("estimated", (16 + 1) // 4)
    assert record.tokens_in == (len(PROMPT) + 1) // 4
    assert model.requests[0].gone.wait(DEADLINE)


def test_a_stream_is_recorded_with_the_usage_that_the_provider_reports(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer.stream(chunk("a"), END, COUNTS, DONE))
    answer = gateway.query("model", STREAM)
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (9, 4, "reported")
    assert record.streamed
    assert record.first_byte_ms <= record.total_ms
    assert "usage" not in answer.text, "nobody asked for the chunk with the counts"


def test_usage_is_streamed_to_callers_that_request_it(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer.stream(chunk("a"), END, COUNTS, DONE))
    answer = gateway.query("model", {**STREAM, "stream_options": {"include_usage": True}})
    assert COUNTS in answer.content


def test_an_event_with_both_a_choice_and_counts_is_passed_on(gateway: GatewayServer, model: Vendor):
    content_event = chunk("a", usage=USAGE)
    model.set_answers(Answer.stream(content_event, END, DONE))
    assert content_event in gateway.query("model", STREAM).content
    assert gateway.usage.last.tokens_out == 4


def test_an_answer_without_counts_is_estimated(gateway: GatewayServer, model: Vendor):
    model.set_answers(Answer.json({"choices": [{"message": {"content": "Hello there."}}]}))
    gateway.query("model")
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out) == ((len(PROMPT) + 1) // 4, (12 + 1) // 4)
    assert record.tokens_source == "estimated"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 2}, (2, 2, "mixed")),
        ({"prompt_tokens": 10**17, "completion_tokens": 1}, (100_000_000, 1, "reported")),
        ({"prompt_tokens": "many", "completion_tokens": None}, (2, 1, "estimated")),
        ("none", (2, 1, "estimated")),
        (None, (2, 1, "estimated")),
    ],
    ids=str,
)
def test_absurd_token_counts_are_ignored(
    gateway: GatewayServer, model: Vendor, usage: Any, expected: tuple[int, int, str]
):
    model.set_answers(Answer.json({**REPLY, "usage": usage}))
    assert gateway.query("model").status_code == 200
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == expected


def test_the_counts_of_a_megabyte_of_vectors_are_found(gateway: GatewayServer, vendor: Vendor):
    vector = [round(index / 7, 6) for index in range(60_000)]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(2)]
    vendor.set_answers(
        Answer.json({"object": "list", "data": data, "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    )
    gateway.add(endpoint("long", entity(base=vendor.url, task=Task.EMBEDDINGS)))
    assert len(gateway.query("long", {"input": "x"}).content) > 1_000_000
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (8, 0, "reported")


def test_an_internal_error_is_recorded(gateway: GatewayServer, model: Vendor):
    """The entity has an unknown provider, which raises an exception that nothing expects."""
    broken = endpoint("broken", entity(base=model.url))
    object.__setattr__(broken.entities[0], "provider", "no such provider")
    gateway.add(broken)
    assert gateway.query("broken").status_code == 500
    record = gateway.usage.last
    assert (record.status, record.completeness, record.error_code) == (500, "failed", "INTERNAL_ERROR")
