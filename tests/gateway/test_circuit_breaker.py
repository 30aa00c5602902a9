"""The circuit breaker: a host that fails repeatedly gets no queries for a while, then one as a probe."""

from __future__ import annotations

import pytest

from serving_ui.gateway import circuit_breaker
from serving_ui.gateway.circuit_breaker import (
    FIRST_OPEN_SECONDS,
    MAX_FAILURES,
    MAX_OPEN_SECONDS,
    CircuitBreaker,
)
from tests.gateway.conftest import GatewayServer, endpoint, entity
from tests.gateway.test_retries import GOOD, refusal
from tests.support.vendor import Vendor
from tests.support.waiting import free_port


def opened(now: float = 100.0) -> CircuitBreaker:
    circuit = CircuitBreaker()
    for _ in range(MAX_FAILURES):
        assert circuit.seconds_until_allowed(now) == 0
        circuit.record_failure(now)
    return circuit


def test_a_circuit_opens_after_consecutive_failures_only():
    circuit = CircuitBreaker()
    for _ in range(5):
        for _ in range(MAX_FAILURES - 1):
            circuit.record_failure(100)
        circuit.record_success()
    assert not circuit.is_open
    assert opened().is_open


def test_after_the_pause_one_query_is_let_through_as_a_probe():
    circuit = opened(100)
    assert circuit.seconds_until_allowed(101) == FIRST_OPEN_SECONDS - 1
    assert circuit.seconds_until_allowed(100 + FIRST_OPEN_SECONDS) == 0
    assert circuit.seconds_until_allowed(100 + FIRST_OPEN_SECONDS) > 0
    circuit.record_success()
    assert (circuit.is_open, circuit.seconds_until_allowed(100 + FIRST_OPEN_SECONDS)) == (False, 0)


def test_a_probe_without_a_result_is_followed_by_another_one():
    circuit = opened(100)
    assert circuit.seconds_until_allowed(110) == 0
    assert circuit.seconds_until_allowed(111) > 0
    assert circuit.seconds_until_allowed(120) == 0


def test_the_pause_doubles_with_each_failed_probe_up_to_a_minute():
    circuit, now, pauses = opened(0), 0.0, []
    for _ in range(8):
        pauses.append(circuit.seconds_until_allowed(now))
        now += pauses[-1]
        assert circuit.seconds_until_allowed(now) == 0
        circuit.record_failure(now)
    assert pauses == [2, 4, 8, 16, 32, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS]


def test_an_open_circuit_answers_with_a_retry_after_and_sends_nothing(
    gateway: GatewayServer, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(circuit_breaker, "FIRST_OPEN_SECONDS", 60.0)
    gateway.add(endpoint("down", entity(base=vendor.url)), endpoint("other", entity(base=vendor.url)))
    vendor.set_answers(refusal(503))
    while not gateway.gateway.client.circuit(vendor.url).is_open:
        assert gateway.query("down").status_code == 503
    request_count = len(vendor.requests)
    vendor.set_answers(GOOD)
    answer = gateway.query("other")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "in a row" in answer.json()["message"]
    assert len(vendor.requests) == request_count


def test_a_successful_probe_closes_the_circuit(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("down", entity(base=vendor.url)))
    circuit = gateway.gateway.client.circuit(vendor.url)
    for _ in range(MAX_FAILURES):
        circuit.record_failure(-1000.0)
    vendor.set_answers(GOOD)
    assert gateway.query("down").status_code == 200
    assert not circuit.is_open


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
def test_a_reply_with_an_error_status_of_a_working_host_closes_the_circuit(
    gateway: GatewayServer, vendor: Vendor, status: int
):
    gateway.add(endpoint("strict", entity(base=vendor.url)))
    circuit = gateway.gateway.client.circuit(vendor.url)
    circuit.record_failure(0)
    vendor.set_answers(refusal(status))
    gateway.query("strict")
    assert circuit.failures == 0


def test_refused_connections_open_the_circuit_of_that_host_only(gateway: GatewayServer, vendor: Vendor):
    gone = f"http://127.0.0.1:{free_port()}"
    gateway.add(endpoint("gone", entity(base=gone)), endpoint("there", entity(base=vendor.url)))
    vendor.set_answers(GOOD)
    while not gateway.gateway.client.circuit(gone).is_open:
        assert gateway.query("gone").status_code == 503
    assert gateway.query("there").status_code == 200
    shown = gateway.gateway.client.circuits()
    assert (shown[gone].is_open, shown[vendor.url].is_open) == (True, False)
