"""Access tokens of Microsoft Entra: fetched once, cached, renewed early, discarded when the provider refuses them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses
from serving_ui.gateway.circuit_breaker import MAX_FAILURES
from serving_ui.gateway.snapshot import Entity
from serving_ui.gateway.timeouts import Timeouts
from tests.gateway.conftest import GatewayServer, endpoint, entity, sent_query
from tests.support.garbage import garbage
from tests.support.raw_server import RawServer, raw_server
from tests.support.sandbox import SandboxServer
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import pass_time, wait_until

SECRET = "entra-canary-93b885adfe0da089cdf634904fd59f71"
ANSWER = '{"choices": [{}]}'


def token_reply(value: str, *, seconds: int = 3600) -> bytes:
    return http(200, json.dumps({"token_type": "Bearer", "access_token": value, "expires_in": seconds}))


def http(status: int, body: str) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status, len(body), body.encode(),
    )  # fmt: skip


@pytest.fixture
def login() -> Iterator[RawServer]:
    with raw_server() as server:
        server.answer(token_reply("token-1"))
        yield server


@pytest.fixture
def azure(gateway: GatewayServer, login: RawServer) -> Iterator[RawServer]:
    """An Azure resource, behind the endpoint `azure`, which uses client credentials."""
    with raw_server() as server:
        server.answer(http(200, ANSWER))
        values: dict[str, Any] = {
            "openai_api_type": "azuread",
            "openai_api_base": server.url,
            "openai_api_version": "2024-10-21",
            "openai_deployment_name": "my-deployment",
            "microsoft_entra_tenant_id": f"tenant-{login.port}",
            "microsoft_entra_client_id": "client",
            "microsoft_entra_client_secret": Secret.from_plaintext(SECRET),
        }
        config = PROVIDERS["openai"].config.model_validate(values)
        served = Entity("azure-1", "openai", "gpt-4o", Task.CHAT, config)
        gateway.publish(endpoint("azure", served), addresses=Addresses({"microsoft-entra": login.url}))
        yield server


def test_a_token_is_fetched_once_and_sent(gateway: GatewayServer, login: RawServer, azure: RawServer):
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: gateway.query("azure"), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(login.requests) == 1
    head, _, form = login.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /tenant-{login.port}/oauth2/v2.0/token ".encode())
    fields = parse_qs(form.decode())
    assert fields["grant_type"] == ["client_credentials"]
    assert fields["client_secret"] == [SECRET]
    assert len(azure.requests) == 16
    assert all(b"authorization: Bearer token-1\r\n" in request for request in azure.requests)
    assert azure.requests[0].startswith(
        b"POST /openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    )


def test_a_retried_request_has_one_authorization_header(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    azure.answer(http(503, "{}").replace(b"content-type", b"retry-after: 0\r\ncontent-type"))
    assert gateway.query("azure").status_code == 503
    assert len(azure.requests) > 1
    assert [request.count(b"authorization: Bearer") for request in azure.requests] == [1] * len(
        azure.requests
    )


def test_a_token_that_is_about_to_expire_is_renewed(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    login.answer(token_reply("short", seconds=0))
    gateway.query("azure")
    gateway.query("azure")
    assert len(login.requests) == 2


def test_a_token_that_the_provider_refuses_is_discarded(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    azure.answer(http(401, '{"error": {"message": "Token token-1 was revoked."}}'))
    answer = gateway.query("azure")
    assert answer.status_code == 400
    assert "token-1" not in answer.text
    login.answer(token_reply("token-2"))
    azure.answer(http(200, ANSWER))
    assert gateway.query("azure").status_code == 200
    assert b"Bearer token-2" in azure.requests[-1]


def test_the_message_of_refused_client_credentials_is_quoted(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    login.answer(
        http(401, f'{{"error": "invalid_client", "error_description": "AADSTS7000215: {SECRET} is wrong."}}')
    )
    answer = gateway.query("azure")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "AADSTS7000215" in answer.json()["message"]
    assert SECRET not in answer.text
    assert azure.requests == []


def test_an_unavailable_token_server_is_503(gateway: GatewayServer, login: RawServer, azure: RawServer):
    login.answer(http(503, "{}"))
    assert gateway.query("azure").status_code == 503
    login.answer(b"")
    assert gateway.query("azure").status_code == 503


def test_a_silent_token_server_is_aborted_after_the_first_byte_timeout_of_the_endpoint(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    login.answer(b"", close=False)
    set_timeouts(gateway, Timeouts(first_byte=3))
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: gateway.query("azure"), range(4)))
    assert {(answer.status_code, answer.json()["error_code"]) for answer in answers} == {
        (504, "DEADLINE_EXCEEDED")
    }
    assert "The token server of endpoint azure was too slow" in answers[0].json()["message"]
    assert len(login.requests) == 1, "all of them wait for the same token request"
    assert {record.status for record in gateway.usage.records} == {504}


def test_a_disconnect_while_a_token_is_fetched_is_recorded_at_once_and_other_callers_get_the_token(
    gateway: GatewayServer, azure: RawServer, vendor: Vendor
):
    gate = threading.Event()
    token = {"token_type": "Bearer", "access_token": "token-1", "expires_in": 3600}
    vendor.set_answers(replace(Answer.json(token), gate=gate))
    gateway.publish(addresses=Addresses({"microsoft-entra": vendor.url}))
    with ThreadPoolExecutor(1) as callers:
        staying = callers.submit(gateway.query, "azure")
        wait_until(lambda: vendor.requests)
        with sent_query(gateway, "azure"):
            pass_time(0.4)  # until it waits for the token, too
        record = gateway.usage.last
        assert (record.status, record.completeness) == (499, "client_left")
        gate.set()
        assert staying.result().status_code == 200
    assert (len(vendor.requests), len(azure.requests)) == (1, 1)


def test_an_unavailable_token_server_does_not_count_for_the_providers_circuit(
    gateway: GatewayServer, login: RawServer, azure: RawServer
):
    login.answer(b"")
    for _ in range(MAX_FAILURES + 1):
        answer = gateway.query("azure")
        assert (answer.status_code, "The token server of endpoint azure" in answer.json()["message"]) == (
            503,
            True,
        )
    assert gateway.gateway.client.circuit(azure.url).failures == 0


@pytest.mark.parametrize("down", [b"", http(503, "{}")], ids=["silent", "503"])
def test_a_failed_token_request_leads_to_a_fallback(
    gateway: GatewayServer, login: RawServer, azure: RawServer, sandbox: SandboxServer, down: bytes
):
    login.answer(down)
    first, second = gateway.holder.current.endpoints["azure"].entities[0], entity(base=sandbox.base)
    routes = ((first.name, 100), (second.name, 0))
    gateway.add(endpoint("both", first, entities=(first, second), routes=routes, fallback=True))
    assert gateway.query("both").headers["served-model-name"] == second.name


def set_timeouts(gateway: GatewayServer, timeouts: Timeouts) -> None:
    gateway.add(replace(gateway.holder.current.endpoints["azure"], timeouts=timeouts))


@pytest.mark.parametrize(
    "response",
    [
        http(400, '{"error": "invalid_client"}'),
        http(503, "{}"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"nonsense",
    ],
    ids=["refused", "busy", "cut", "no HTTP"],
)
def test_a_failed_token_request_leaves_no_reference_cycles(
    gateway: GatewayServer, login: RawServer, azure: RawServer, response: bytes
):
    login.answer(response)
    gateway.query("azure")
    with garbage(times=3) as found:
        for _ in range(3):
            assert gateway.query("azure").status_code >= 400
        wait_until(lambda: len(gateway.usage.records) == 4)
    assert not found
