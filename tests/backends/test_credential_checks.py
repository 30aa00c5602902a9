"""The credential check of each provider: its request, and the outcome of each reply, with a real server in the place of the vendor."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from serving_ui.backends.credential_checks import MAX_MESSAGE_CHARS, check_credentials
from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.transport import Call
from serving_ui.catalogue import registry
from serving_ui.catalogue.spec import parse_config
from serving_ui.catalogue.upstream import Addresses
from serving_ui.lib.egress import EgressPolicy
from tests.catalogue.samples import CANARY, VARIANTS, Variant, config_body, external_model, resolved
from tests.support.asgi_server import serve

POLICY = EgressPolicy(listed=(), loopback=True)


@dataclass
class Vendor:
    """An ASGI application in the place of a vendor, which records requests and answers as a test sets."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"access_token": "issued-token", "expires_in": 3600})
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("lifespan.startup", "lifespan.shutdown"):
                await receive()
                await send({"type": f"{answer}.complete"})
            return
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append({"path": scope["path"], "headers": headers, "body": body.decode()})
        reply_headers = {"content-type": "application/json", **self.headers}
        answered = [(name.encode(), value.encode()) for name, value in reply_headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": answered})
        content = self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    with serve(made) as running:
        made.url = running.url
        yield made


def service_account() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    stolen = "http://127.0.0.1:1/stolen"  # the key file's own token address is ignored
    return json.dumps(
        {
            "type": "service_account",
            "private_key": key.decode(),
            "client_email": "a@b.iam",
            "token_uri": stolen,
        }
    )


def check(variant: Variant, vendor: Vendor, secret: str = "a-secret-value") -> Observation:
    block = variant.minimal()
    for each in variant.shown():
        if each.kind == "url" and each.path and len(each.path) == 1 and each.path[0] in block:
            block[each.path[0]] = vendor.url
    task = variant.provider.tasks[0]
    spec = parse_config(config_body(external_model(variant.provider, task, block)))
    entity = spec.served_entities[0]
    if variant.provider.name == "google-cloud-vertex-ai" and secret == "a-secret-value":
        secret = service_account()
    model = entity.external.model_copy(update={"config": resolved(entity.external.config, secret)})
    addresses = Addresses(dict.fromkeys([*registry.PROVIDERS, "microsoft-entra"], vendor.url))
    with Call(policy=POLICY) as call:
        return check_credentials(model, addresses=addresses, call=call)


CHECKED = [v for v in VARIANTS if "instance_profile" not in v.answers.values()]
CHECKED = [v for v in CHECKED if "service_credential" not in v.answers.values()]


@pytest.mark.parametrize("variant", CHECKED, ids=str)
def test_credentials_that_the_provider_accepts_are_verified(variant: Variant, vendor: Vendor):
    assert check(variant, vendor).progress is Progress.READY
    assert vendor.requests


@pytest.mark.parametrize("variant", CHECKED, ids=str)
@pytest.mark.parametrize("where", ["error", "message"])
def test_a_401_is_rejected_with_the_providers_message(variant: Variant, vendor: Vendor, where: str):
    vendor.status = 401
    vendor.body = {"error": {"message": "No such key."}} if where == "error" else {"message": "No such key."}
    verdict = check(variant, vendor)
    assert verdict.progress is Progress.FAILED
    assert "No such key." in verdict.message


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_vendor_is_retried_after_its_retry_after(vendor: Vendor, status: int):
    vendor.status, vendor.headers = status, {"retry-after": "7"}
    verdict = check(VARIANTS[0], vendor)
    assert (verdict.progress, verdict.retry_after) == (Progress.RETRY, 7)


def test_bedrock_gets_a_signed_request_and_rejects_with_403(vendor: Vendor):
    variant = next(v for v in CHECKED if v.provider.name == "amazon-bedrock")
    assert check(variant, vendor, CANARY).progress is Progress.READY
    signature = vendor.requests[-1]["headers"]["authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=")
    assert "Signature=" in signature
    vendor.status = 403
    assert check(variant, vendor, CANARY).progress is Progress.FAILED


def test_vertex_exchanges_a_signed_assertion_at_googles_address_only(vendor: Vendor):
    variant = next(v for v in CHECKED if v.provider.name == "google-cloud-vertex-ai")
    assert check(variant, vendor).progress is Progress.READY
    exchange, listing = vendor.requests
    assert exchange["path"] == "/token"
    assert parse_qs(exchange["body"])["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert listing["headers"]["authorization"] == "Bearer issued-token"


def test_a_vertex_key_that_is_no_service_account_is_rejected_without_a_request(vendor: Vendor):
    variant = next(v for v in CHECKED if v.provider.name == "google-cloud-vertex-ai")
    for key in (
        "not json",
        "{}",
        "[1]",
        '"text"',
        '{"type": "service_account", "private_key": "x", "client_email": "y"}',
    ):
        verdict = check(variant, vendor, key)
        assert verdict.progress is Progress.FAILED
        assert "service account" in verdict.message
    assert not vendor.requests


def test_entra_exchanges_the_client_secret_and_its_error_is_quoted(vendor: Vendor):
    variant = next(v for v in CHECKED if "azuread" in v.answers.values())
    assert check(variant, vendor).progress is Progress.READY
    exchange, listing = vendor.requests
    assert exchange["path"].endswith("/oauth2/v2.0/token")
    assert parse_qs(exchange["body"])["client_secret"] == ["a-secret-value"]
    assert listing["headers"]["authorization"] == "Bearer issued-token"
    vendor.status, vendor.body = (
        401,
        {"error": "invalid_client", "error_description": "Invalid client secret."},
    )
    verdict = check(variant, vendor)
    assert verdict.progress is Progress.FAILED
    assert "Invalid client secret." in verdict.message


def test_a_key_in_the_vendors_message_is_redacted(vendor: Vendor):
    vendor.status, vendor.body = 401, {"error": {"message": f"Incorrect API key provided: {CANARY}."}}
    verdict = check(VARIANTS[0], vendor, CANARY)
    assert verdict.progress is Progress.FAILED
    assert CANARY not in verdict.message


@pytest.mark.parametrize("shape", ["json", "text", "url", "base64"])
def test_a_key_at_the_cut_of_the_vendors_message_is_redacted(vendor: Vendor, shape: str):
    """At each offset around the place where the message of a check is cut."""
    vendor.status = 401
    spelled = {"url": quote(CANARY, safe=""), "base64": b64encode(f"u:{CANARY}".encode()).decode()}
    key = spelled.get(shape, CANARY)
    for at in range(MAX_MESSAGE_CHARS - len(key) - 20, MAX_MESSAGE_CHARS + 3, 2):
        words = f"{'w' * at} {key} {'v' * 60}"
        vendor.body = {"error": {"message": words}} if shape == "json" else words
        verdict = check(VARIANTS[0], vendor, CANARY)
        assert verdict.progress is Progress.FAILED
        assert not any(key[place : place + 8] in verdict.message for place in range(len(key) - 7))


def test_a_long_reply_that_is_no_error_object_is_quoted_in_part(vendor: Vendor):
    vendor.status, vendor.body = 401, ["x" * 5000]
    assert len(check(VARIANTS[0], vendor).message) < 700


@pytest.mark.parametrize(
    ("error", "progress"),
    [
        ({"message": "No such key.", "code": 401}, Progress.FAILED),
        ({"message": "No such key.", "code": "invalid_api_key"}, Progress.FAILED),
        ({"message": "busy", "code": 503}, Progress.RETRY),
        ({"message": "what?", "code": 404}, Progress.READY_UNVERIFIED),
    ],
)
def test_an_error_within_a_200_has_the_outcome_of_its_status(
    vendor: Vendor, error: dict[str, str | int], progress: Progress
):
    vendor.status, vendor.body = 200, {"error": error}
    verdict = check(VARIANTS[0], vendor)
    assert (verdict.progress, str(error["message"]) in verdict.message) == (progress, True)


def test_an_html_reply_is_unverified_and_not_quoted(vendor: Vendor):
    vendor.headers, vendor.body = {"content-type": "text/html"}, "<html>Not here</html>"
    for status in (200, 404):
        vendor.status = status
        verdict = check(VARIANTS[0], vendor)
        assert verdict.progress is Progress.READY_UNVERIFIED
        assert "a web page" in verdict.message
        assert "<" not in verdict.message


@pytest.mark.parametrize("secret", ["line\nbreak", "\x00"])
def test_a_secret_that_is_no_valid_header_value_is_rejected_without_a_request(vendor: Vendor, secret: str):
    verdict = check(VARIANTS[0], vendor, secret)
    assert verdict.progress is Progress.FAILED
    assert not vendor.requests
