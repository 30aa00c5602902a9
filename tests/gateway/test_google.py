"""Google's access tokens: requested with an assertion signed by the stored key, cached, renewed early, discarded when refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest
from google.auth import jwt

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.lib.egress import EgressPolicy
from tests.gateway.conftest import GatewayServer
from tests.support.google_service_account import EMAIL, public_key, service_account
from tests.support.vendor import Answer, Received, Vendor

HELLO = {"candidates": [{"content": {"parts": [{"text": "Hello."}]}, "finishReason": "STOP"}]}
GENERATE = ":generateContent"


def token(value: str, *, seconds: int = 3599) -> Answer:
    return Answer.json({"access_token": value, "token_type": "Bearer", "expires_in": seconds})


def add_endpoint(gateway: GatewayServer, vendor: Vendor, *, key: str | None = None) -> None:
    values: dict[str, Any] = {
        "project_id": "my-project",
        "region": "us-central1",
        "private_key": Secret.from_plaintext(service_account() if key is None else key),
    }
    config = PROVIDERS["google-cloud-vertex-ai"].config.model_validate(values)
    gateway.add_endpoint(vendor, provider="google-cloud-vertex-ai", model="gemini-3.5-flash", config=config)


@pytest.fixture
def google(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """Google's token server and Vertex AI on one port, behind the endpoint `vendor`."""
    add_endpoint(gateway, vendor)
    vendor.set_answers(token("token-1"), at="/token")
    vendor.set_answers(Answer.json(HELLO), at=GENERATE)
    return vendor


def requests_to(vendor: Vendor, path: str) -> list[Received]:
    return [request for request in vendor.requests if path in request.path]


def test_a_token_is_requested_once_with_a_signed_assertion_and_sent(gateway: GatewayServer, google: Vendor):
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: gateway.query("vendor"), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    (login,) = requests_to(google, "/token")
    form = parse_qs(login.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claim = jwt.decode(
        form["assertion"][0],
        certs={"key-1": public_key()},
        audience="https://oauth2.googleapis.com/token",
    )
    assert (claim["iss"], claim["exp"] - claim["iat"]) == (EMAIL, 3600)
    assert claim["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    queries = requests_to(google, GENERATE)
    assert len(queries) == 16
    assert {query.headers["authorization"] for query in queries} == {"Bearer token-1"}


def test_a_token_that_is_about_to_expire_is_renewed(gateway: GatewayServer, google: Vendor):
    google.set_answers(token("short", seconds=0), token("long"), at="/token")
    gateway.query("vendor")
    gateway.query("vendor")
    gateway.query("vendor")
    assert len(requests_to(google, "/token")) == 2
    assert requests_to(google, GENERATE)[-1].headers["authorization"] == "Bearer long"


def test_a_token_that_the_provider_refuses_is_discarded(gateway: GatewayServer, google: Vendor):
    google.set_answers(token("token-1"), token("token-2"), at="/token")
    refused = Answer.json({"error": {"code": 401, "message": "token-1 has ended."}}, status=401)
    google.set_answers(refused, Answer.json(HELLO), at=GENERATE)
    answer = gateway.query("vendor")
    assert answer.status_code == 400
    assert "token-1" not in answer.text
    assert gateway.query("vendor").status_code == 200
    assert requests_to(google, GENERATE)[-1].headers["authorization"] == "Bearer token-2"


@pytest.mark.parametrize(
    "key", ["no JSON", "[]", "{}", '{"private_key": "x", "client_email": "a@b"}', '{"private_key": 5}']
)
def test_a_key_that_is_no_service_account_is_refused_without_quoting_it(
    gateway: GatewayServer, google: Vendor, key: str
):
    add_endpoint(gateway, google, key=key)
    answer = gateway.query("vendor")
    assert answer.status_code == 400
    assert "not the JSON file of a service account" in answer.json()["message"]
    assert google.requests == []


def test_the_message_of_a_refused_assertion_is_quoted(gateway: GatewayServer, google: Vendor):
    words = {"error": "invalid_grant", "error_description": "Invalid JWT: account not found"}
    google.set_answers(Answer.json(words, status=400), at="/token")
    answer = gateway.query("vendor")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "account not found" in answer.json()["message"]
    assert requests_to(google, GENERATE) == []


def test_an_unavailable_token_server_is_503(gateway: GatewayServer, google: Vendor):
    google.set_answers(Answer.json({}, status=503), at="/token")
    assert gateway.query("vendor").status_code == 503


def test_the_outbound_policy_applies_to_the_token_server(gateway: GatewayServer, google: Vendor):
    gateway.publish(egress=EgressPolicy())
    answer = gateway.query("vendor")
    assert answer.status_code == 400
    assert "address may not be used" in answer.json()["message"]
    assert google.requests == []
