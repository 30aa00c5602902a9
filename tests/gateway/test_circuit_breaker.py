"""A host that fails again and again is left alone for a while, and asked by one query before all others."""

from __future__ import annotations

import pytest

from serving_ui.gateway.circuit_breaker import FAULTS, FIRST_SECONDS, MOST_SECONDS, CircuitBreaker
from tests.gateway.conftest import GatewayServer, endpoint, entity
from tests.gateway.test_retries import GOOD, refusal
from tests.support.servers import free_port
from tests.support.vendor import Vendor


def opened(now: float = 100.0) -> CircuitBreaker:
    circuit = CircuitBreaker()
    for _ in range(FAULTS):
        assert circuit.wait(now) == 0
        circuit.failed(now)
    return circuit


def test_it_opens_after_faults_in_a_row_only():
    circuit = CircuitBreaker()
    for _ in range(5):
        for _ in range(FAULTS - 1):
            circuit.failed(100)
        circuit.answered()
    assert not circuit.is_open
    assert opened().is_open


def test_one_query_asks_when_the_time_is_up_and_the_others_go_on_waiting():
    circuit = opened(100)
    assert circuit.wait(101) == FIRST_SECONDS - 1
    assert circuit.wait(100 + FIRST_SECONDS) == 0
    assert circuit.wait(100 + FIRST_SECONDS) > 0
    circuit.answered()
    assert (circuit.is_open, circuit.wait(100 + FIRST_SECONDS)) == (False, 0)


def test_a_probe_that_never_returns_is_followed_by_another_one():
    circuit = opened(100)
    assert circuit.wait(110) == 0
    assert circuit.wait(111) > 0
    assert circuit.wait(120) == 0


def test_the_pause_doubles_with_each_failed_probe_up_to_a_minute():
    circuit, now, pauses = opened(0), 0.0, []
    for _ in range(8):
        pauses.append(circuit.wait(now))
        now += pauses[-1]
        assert circuit.wait(now) == 0
        circuit.failed(now)
    assert pauses == [2, 4, 8, 16, 32, MOST_SECONDS, MOST_SECONDS, MOST_SECONDS]


def test_an_open_circuit_says_when_to_come_back_and_asks_nobody(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("down", entity(base=vendor.url)), endpoint("other", entity(base=vendor.url)))
    vendor.say(refusal(503))
    while not gateway.gateway.client.circuit(vendor.url).is_open:
        assert gateway.query("down").status_code == 503
    asked = len(vendor.asked)
    vendor.say(GOOD)
    answer = gateway.query("other")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert 1 <= int(answer.headers["Retry-After"]) <= FIRST_SECONDS
    assert "in a row" in answer.json()["message"]
    assert len(vendor.asked) == asked


def test_a_host_that_is_back_is_asked_by_all_again(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("down", entity(base=vendor.url)))
    circuit = gateway.gateway.client.circuit(vendor.url)
    for _ in range(FAULTS):
        circuit.failed(-1000.0)
    vendor.say(GOOD)
    assert gateway.query("down").status_code == 200
    assert not circuit.is_open


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
def test_a_host_that_refuses_is_there(gateway: GatewayServer, vendor: Vendor, status: int):
    gateway.add(endpoint("strict", entity(base=vendor.url)))
    circuit = gateway.gateway.client.circuit(vendor.url)
    circuit.failed(0)
    vendor.say(refusal(status))
    gateway.query("strict")
    assert circuit.faults == 0


def test_a_host_without_a_listener_opens_its_own_circuit_only(gateway: GatewayServer, vendor: Vendor):
    gone = f"http://127.0.0.1:{free_port()}"
    gateway.add(endpoint("gone", entity(base=gone)), endpoint("there", entity(base=vendor.url)))
    vendor.say(GOOD)
    while not gateway.gateway.client.circuit(gone).is_open:
        assert gateway.query("gone").status_code == 503
    assert gateway.query("there").status_code == 200
    shown = gateway.gateway.client.circuits()
    assert (shown[gone].is_open, shown[vendor.url].is_open) == (True, False)
