"""Fallback: when a served entity fails, up to two others are tried in their order, unless the error would be the same there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.circuit_breaker import MAX_FAILURES
from serving_ui.gateway.snapshot import Entity, Limit
from serving_ui.gateway.timeouts import Timeouts
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_retries import GOOD, refusal
from tests.support.vendor import Answer, Vendor, running_vendor
from tests.support.waiting import DEADLINE, free_port

STREAM = {**CHAT, "stream": True}
FIRST = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
WHOLE = Answer.stream(
    FIRST, b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
)


@pytest.fixture
def vendors(gateway: GatewayServer) -> Iterator[list[Vendor]]:
    """Four vendors behind the endpoint `many`; all traffic goes to the second one."""
    with ExitStack() as stack:
        found = [stack.enter_context(running_vendor()) for _ in range(4)]
        for vendor in found:
            vendor.set_answers(GOOD)
        publish(gateway, [vendor.url for vendor in found])
        yield found


def publish(gateway: GatewayServer, bases: list[str], **changes: Any) -> None:
    served = tuple(entity(base=base, name=f"model-{number}") for number, base in enumerate(bases))
    options = {"fallback": True, "routes": (("model-1", 100),), **changes}
    gateway.add(endpoint("many", served[0], entities=served, **options))


def counts(vendors: list[Vendor]) -> list[int]:
    return [len(vendor.requests) for vendor in vendors]


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 529])
def test_after_a_status_of_the_provider_the_next_entity_answers_without_a_retry(
    gateway: GatewayServer, vendors: list[Vendor], status: int
):
    vendors[1].set_answers(refusal(status, Retry_After="1"))
    answer = gateway.query("many")
    assert (answer.status_code, answer.headers["served-model-name"]) == (200, "model-2")
    assert counts(vendors) == [0, 1, 1, 0]
    record = gateway.usage.last
    assert (record.entity, record.fallbacks, record.retries, record.status) == ("model-2", 1, 0, 200)


def test_after_the_last_entity_the_first_is_tried(gateway: GatewayServer, vendors: list[Vendor]):
    publish(gateway, [vendor.url for vendor in vendors], routes=(("model-3", 100),))
    vendors[3].set_answers(refusal(500))
    assert gateway.query("many").headers["served-model-name"] == "model-0"


def test_at_most_two_fallbacks_are_tried(gateway: GatewayServer, vendors: list[Vendor]):
    for vendor in vendors:
        vendor.set_answers(refusal(500))
    answer = gateway.query("many")
    assert (answer.status_code, counts(vendors)) == (500, [0, 1, 1, 1])
    assert gateway.usage.last.fallbacks == 2


def test_the_last_fallback_is_retried(gateway: GatewayServer, vendors: list[Vendor]):
    vendors[1].set_answers(refusal(503))
    vendors[2].set_answers(refusal(503))
    vendors[3].set_answers(refusal(503, Retry_After="0"), GOOD)
    answer = gateway.query("many")
    assert (answer.status_code, counts(vendors)) == (200, [0, 1, 1, 2])
    assert gateway.usage.last.retries == 1


def test_an_entity_is_retried_if_no_fallback_supports_the_request(gateway: GatewayServer, vendor: Vendor):
    first = entity(base=vendor.url)
    key = Secret.from_plaintext("a-key")
    config = PROVIDERS["palm"].config.model_validate({"palm_api_key": key})
    unsupported = Entity("unsupported", "palm", "chat-bison-001", Task.CHAT, config)
    served = {"entities": (first, unsupported), "fallback": True, "routes": ((first.name, 100),)}
    gateway.add(endpoint("two", first, **served))
    vendor.set_answers(refusal(503, Retry_After="0"), GOOD)
    answer = gateway.query("two")
    assert (answer.status_code, len(vendor.requests)) == (200, 2)
    record = gateway.usage.last
    assert (record.entity, record.retries, record.fallbacks) == (first.name, 1, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_client_error_leads_to_no_fallback(gateway: GatewayServer, vendors: list[Vendor], status: int):
    vendors[1].set_answers(refusal(status))
    assert gateway.query("many").status_code == 400
    assert counts(vendors) == [0, 1, 0, 0]


def test_an_exhausted_quota_leads_to_a_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    vendors[1].set_answers(Answer.json({"error": {"code": "insufficient_quota"}}, status=429))
    assert gateway.query("many").headers["served-model-name"] == "model-2"


def test_a_refused_connection_leads_to_a_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    publish(gateway, [vendors[0].url, f"http://127.0.0.1:{free_port()}", vendors[2].url])
    assert gateway.query("many").headers["served-model-name"] == "model-2"


def test_a_first_byte_timeout_leads_to_a_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    short = Timeouts(connect=20, first_byte=2, total=50)
    publish(gateway, [vendor.url for vendor in vendors], timeouts=short)
    vendors[1].set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()))
    assert gateway.query("many").headers["served-model-name"] == "model-2"
    assert vendors[1].requests[0].gone.wait(DEADLINE)


def test_after_the_total_timeout_no_fallback_is_tried(gateway: GatewayServer, vendors: list[Vendor]):
    publish(
        gateway, [vendor.url for vendor in vendors], timeouts=Timeouts(connect=20, first_byte=60, total=2)
    )
    vendors[1].set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()))
    assert gateway.query("many").status_code == 504
    assert counts(vendors) == [0, 1, 0, 0]
    record = gateway.usage.last
    assert (record.entity, record.fallbacks) == ("model-1", 0)
    assert gateway.gateway.client.circuit(vendors[2].url).failures == 0, "this provider was not called"


def test_an_open_circuit_leads_to_a_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    assert gateway.query("many").status_code == 200
    circuit = gateway.gateway.client.circuit(vendors[1].url)
    for _ in range(MAX_FAILURES):
        circuit.record_failure(1e12)
    assert gateway.query("many").headers["served-model-name"] == "model-2"
    assert counts(vendors) == [0, 1, 1, 0]


def test_without_the_setting_there_is_no_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    publish(gateway, [vendor.url for vendor in vendors], fallback=False)
    vendors[1].set_answers(refusal(500))
    assert gateway.query("many").status_code == 500
    assert counts(vendors) == [0, 1, 0, 0]


def test_a_query_to_a_named_entity_has_no_fallback(gateway: GatewayServer, vendors: list[Vendor]):
    vendors[3].set_answers(refusal(500))
    answer = gateway.post("many/served-models/model-3/invocations", CHAT)
    assert (answer.status_code, counts(vendors)) == (500, [0, 0, 0, 1])
    assert gateway.post("many/served-models/model-0/invocations", CHAT).status_code == 200


def test_a_stream_that_fails_before_its_first_event_leads_to_a_fallback(
    gateway: GatewayServer, vendors: list[Vendor]
):
    vendors[1].set_answers(Answer.stream(b'data: {"error": {"message": "overloaded"}}\n\n'))
    vendors[2].set_answers(Answer.stream(b"", cut=True))
    vendors[3].set_answers(WHOLE)
    answer = gateway.query("many", STREAM)
    assert answer.headers["served-model-name"] == "model-3"
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert counts(vendors) == [0, 1, 1, 1]


def test_a_stream_that_fails_after_its_first_event_leads_to_no_fallback(
    gateway: GatewayServer, vendors: list[Vendor]
):
    vendors[1].set_answers(Answer.stream(FIRST, cut=True))
    answer = gateway.query("many", STREAM)
    assert b"[DONE]" not in answer.content
    assert counts(vendors) == [0, 1, 0, 0]


def test_limits_count_a_query_with_fallbacks_once(gateway: GatewayServer, vendors: list[Vendor]):
    """The limits are two calls and 60 tokens a minute. Each query reserves 53 tokens and uses 5."""
    limits = (Limit("endpoint", 2), Limit("endpoint", 60, "tokens"))
    publish(gateway, [vendor.url for vendor in vendors], limits=limits)
    vendors[1].set_answers(refusal(500))
    statuses = [gateway.query("many", {**CHAT, "max_tokens": 50}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert counts(vendors) == [0, 2, 2, 0]
    recorded = [
        (each.entity, each.fallbacks, each.completeness, each.tokens_out) for each in gateway.usage.records
    ]
    assert recorded == [("model-2", 1, "complete", 2), ("model-2", 1, "complete", 2), ("", 0, "limited", 0)]
