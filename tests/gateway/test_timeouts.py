"""The timeouts of an endpoint for its provider, and for a caller that does not read its answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from serving_ui.gateway.timeouts import Timeouts
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity, sent_query
from tests.gateway.test_records import DONE, END, chunk
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import DEADLINE, pass_time, wait_until

STREAM = {**CHAT, "stream": True}


def publish(gateway: GatewayServer, vendor: Vendor, timeouts: Timeouts) -> None:
    gateway.add(endpoint("short", entity(base=vendor.url), timeouts=timeouts))


def test_the_first_byte_timeout_of_the_endpoint_applies(gateway: GatewayServer, vendor: Vendor):
    publish(gateway, vendor, Timeouts(first_byte=1.5))
    vendor.set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()))
    answer = gateway.query("short")
    assert (answer.status_code, answer.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert "1.5 s" in answer.json()["message"]
    assert vendor.requests[0].gone.wait(DEADLINE)


@pytest.mark.parametrize(("first_byte", "failures"), [(0.3, 0), (1.5, 1)])
def test_a_timeout_counts_for_the_circuit_breaker_unless_the_endpoint_has_shorter_ones_than_the_default(
    short_timeouts_gateway: GatewayServer, vendor: Vendor, first_byte: float, failures: int
):
    """All endpoints share the circuit breaker of a host: one with short timeouts must not open it for the others."""
    gateway = short_timeouts_gateway
    publish(gateway, vendor, replace(gateway.gateway.client.timeouts, first_byte=first_byte))
    vendor.set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()))
    assert gateway.query("short").status_code == 504
    assert gateway.gateway.client.circuit(vendor.url).failures == failures


@pytest.mark.parametrize("first_byte", [1.9, 60.0])
def test_the_total_timeout_of_the_endpoint_applies_to_a_stream(
    gateway: GatewayServer, vendor: Vendor, first_byte: float
):
    publish(gateway, vendor, Timeouts(first_byte=first_byte, total=2))
    vendor.set_answers(Answer.stream(chunk("a"), threading.Event(), END, DONE))
    answer = gateway.query("short", STREAM)
    assert b"within 2 s" in answer.content
    assert (gateway.usage.last.completeness, gateway.usage.last.error_code) == (
        "truncated",
        "DEADLINE_EXCEEDED",
    )


@pytest.fixture
def unaccepting() -> Iterator[str]:
    """The address of a listener whose accept queue is full, so that connecting neither succeeds nor fails."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("timeouts", "sentence"),
    [
        (Timeouts(connect=0.4), "accepted no connection within 0.4 s"),
        (Timeouts(connect=20, first_byte=20, total=0.4), "did not finish its answer within 0.4 s"),
    ],
    ids=["connect", "total"],
)
def test_the_connect_and_total_timeouts_of_the_endpoint_apply_to_connecting(
    gateway: GatewayServer, unaccepting: str, timeouts: Timeouts, sentence: str
):
    gateway.add(endpoint("deaf", entity(base=unaccepting), timeouts=timeouts))
    answer = gateway.query("deaf")
    assert (answer.status_code, answer.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert sentence in answer.json()["message"]
    assert (gateway.usage.last.status, gateway.usage.last.retries) == (504, 0)


def test_a_disconnect_while_the_gateway_connects_is_recorded_at_once(
    gateway: GatewayServer, unaccepting: str
):
    gateway.add(endpoint("deaf", entity(base=unaccepting), timeouts=Timeouts(connect=60)))
    with sent_query(gateway, "deaf"):
        pass_time(0.4)  # until the gateway connects
    assert (gateway.usage.last.status, gateway.usage.last.completeness) == (499, "client_left")
    assert gateway.gateway.client.circuit(unaccepting).failures == 0


def test_timeouts_of_one_endpoint_do_not_apply_to_another_endpoint_of_the_same_provider(
    gateway: GatewayServer, vendor: Vendor
):
    publish(gateway, vendor, Timeouts(first_byte=0.2))
    gate = threading.Event()
    gateway.add(endpoint("calm", entity(base=vendor.url)))
    vendor.set_answers(Answer(200, {"Content-Type": "application/json"}, (b'{"choices": [{}]}',), gate=gate))
    assert gateway.query("short").status_code == 504
    gate.set()
    assert gateway.query("calm").status_code == 200


def test_a_caller_that_does_not_read_the_answer_is_disconnected_after_the_total_timeout(
    gateway: GatewayServer, vendor: Vendor
):
    publish(gateway, vendor, Timeouts(total=2))
    much = chunk("x" * 500_000)
    vendor.set_answers(Answer.stream(*([much] * 40), END, DONE))
    body = json.dumps(STREAM).encode()
    head = (
        "POST /serving-endpoints/short/invocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-owner\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.sendall(head.encode() + body)
        wait_until(lambda: gateway.usage.records)
        assert (gateway.usage.last.status, gateway.usage.last.completeness) == (499, "client_left")
        assert vendor.requests[0].gone.wait(DEADLINE)
