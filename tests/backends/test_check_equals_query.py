"""A credential check authenticates like a query to each provider, and an error that fails every query fails the check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from google.auth import jwt

from serving_ui.backends.credential_checks import check_credentials
from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.transport import Call
from serving_ui.catalogue.spec import ServedEntity, parse_config
from serving_ui.catalogue.upstream import Addresses
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.snapshot import Entity, SnapshotHolder
from serving_ui.lib.egress import EgressPolicy
from tests.catalogue.samples import VARIANTS, Variant, config_body, external_model, resolved
from tests.gateway.conftest import CHAT, Application, GatewayServer, endpoint, first_snapshot
from tests.support.asgi_server import serve
from tests.support.aws_signature import is_signed
from tests.support.google_service_account import public_key, service_account
from tests.support.recordings import all_addresses
from tests.support.vendor import Answer, Received, Vendor, running_vendor

POLICY = EgressPolicy(loopback=True)
ARN = "arn:aws:iam::123456789012:instance-profile/bedrock"
KEY = "a-secret-value-0123456789"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture
def gateway() -> Iterator[GatewayServer]:
    """A gateway of the test's own, because a gateway caches tokens."""
    made = Gateway(SnapshotHolder(first_snapshot()))
    with serve(Application(made)) as running:
        yield GatewayServer(running.url, made.holder, made)


def served(variant: Variant, url: str, key: str) -> ServedEntity:
    block = variant.minimal()
    for each in variant.shown():
        if each.kind == "url" and each.path and len(each.path) == 1 and each.path[0] in block:
            block[each.path[0]] = url
        if each.name == "instance_profile_arn":
            block[each.name] = ARN
    spec = parse_config(config_body(external_model(variant.provider, variant.provider.tasks[0], block)))
    entity = spec.served_entities[0]
    model = entity.external
    model = model.model_copy(update={"config": resolved(model.config, key)})
    return entity.model_copy(update={"external_model": model})


def check(entity: ServedEntity, addresses: Addresses, policy: EgressPolicy = POLICY) -> Observation:
    with Call(policy=policy) as call:
        return check_credentials(entity.external, addresses=addresses, call=call)


def query(gateway: GatewayServer, entity: ServedEntity, addresses: Addresses) -> Any:
    model = entity.external
    one = Entity("entity-1", model.provider, model.name, model.task, model.config)
    gateway.publish(endpoint("one", one), addresses=addresses)
    bodies = {"llm/v1/chat": CHAT, "llm/v1/completions": {"prompt": "x"}, "llm/v1/embeddings": {"input": "x"}}
    return gateway.query("one", bodies[model.task.value])


CHECKED = [
    variant
    for variant in VARIANTS
    if "service_credential" not in variant.answers.values() and variant.provider.name != "palm"
]


@pytest.fixture
def metadata(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """The metadata service of a machine that has an instance profile."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", vendor.url)
    keys = {"Code": "Success", "AccessKeyId": KEY, "SecretAccessKey": KEY, "Token": "session-token"}
    vendor.set_answers(Answer(portions=(b"metadata-token",)), at="/latest/api/token")
    vendor.set_answers(Answer(portions=(b"the-role",)), at="/iam/security-credentials/")
    vendor.set_answers(
        Answer.json({**keys, "Expiration": "2199-01-01T00:00:00Z"}), at="/iam/security-credentials/the-role"
    )
    vendor.set_answers(Answer.json({"Code": "Success", "InstanceProfileArn": ARN}), at="/iam/info")
    return vendor


def credential_headers(request: Received) -> dict[str, str]:
    """The headers that authenticate a request, and its host."""
    ours = ("accept", "content-type", "content-length", "anthropic-version")
    return {name: value for name, value in request.headers.items() if name not in ours}


@pytest.mark.parametrize("variant", CHECKED, ids=str)
def test_a_check_sends_the_same_credentials_as_a_query(
    variant: Variant, metadata: Vendor, gateway: GatewayServer
):
    vendor = metadata
    is_google = variant.provider.name == "google-cloud-vertex-ai"
    entity = served(variant, vendor.url, service_account() if is_google else KEY)
    vendor.set_answers(Answer.json({"access_token": "issued-token", "expires_in": 3600}), at="token")
    vendor.set_answers(Answer(portions=(b"metadata-token",)), at="/latest/api/token")
    vendor.set_answers(Answer.json({}), at="/")
    assert check(entity, all_addresses(vendor.url)).progress is Progress.READY
    checked = [each for each in vendor.requests if "/latest/" not in each.path]
    vendor.requests.clear()
    query(gateway, entity, all_addresses(vendor.url))
    queried = [each for each in vendor.requests if "/latest/" not in each.path]
    assert len(checked) == len(queried) >= 1
    for one, other in zip(checked[:-1], queried[:-1], strict=True):
        assert (one.method, one.path, one.headers.keys()) == (other.method, other.path, other.headers.keys())
        assert token_form(one) == token_form(other)
    one, other = checked[-1], queried[-1]
    if variant.provider.name == "amazon-bedrock":
        region = str(entity.external.config.flat()["aws_region"])
        for request, service in ((one, "sts"), (other, "bedrock")):
            assert is_signed(request, key_id=KEY, secret=KEY, region=region, service=service)
        assert one.headers.get("x-amz-security-token") == other.headers.get("x-amz-security-token")
        assert credential_headers(one).keys() == credential_headers(other).keys()
    else:
        assert credential_headers(one) == credential_headers(other)


def token_form(request: Received) -> dict[str, Any]:
    form: dict[str, Any] = parse_qs(request.body.decode())
    if "assertion" in form:
        audience = "https://oauth2.googleapis.com/token"
        claim = jwt.decode(form["assertion"][0], certs={"key-1": public_key()}, audience=audience)
        form["assertion"] = [{name: claim[name] for name in ("iss", "scope", "aud")}]
    return form


FAULTS = {
    "refused credentials": Answer.json({"error": {"message": "No such key."}}, status=401),
    "a redirect": Answer(302, {"Location": "http://127.0.0.1:1/"}),
    "a redirect of a token server": Answer(307, {"Location": "http://127.0.0.1:1/token"}),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("variant", CHECKED, ids=str)
def test_an_error_that_fails_every_query_fails_the_check(
    variant: Variant, name: str, metadata: Vendor, gateway: GatewayServer
):
    vendor = metadata
    is_google = variant.provider.name == "google-cloud-vertex-ai"
    entity = served(variant, vendor.url, service_account() if is_google else KEY)
    vendor.set_answers(FAULTS[name], at="/")
    granted = Answer.json({"access_token": "issued-token"})
    vendor.set_answers(FAULTS[name] if "token" in name else granted, at="token")
    vendor.set_answers(Answer(portions=(b"metadata-token",)), at="/latest/api/token")
    verdict = check(entity, all_addresses(vendor.url))
    answer = query(gateway, entity, all_addresses(vendor.url))
    assert answer.status_code == 400
    assert verdict.progress is Progress.FAILED
    assert ("redirect" in verdict.message) == ("redirect" in answer.json()["message"])
    assert ("No such key." in verdict.message) == ("No such key." in answer.json()["message"])
    assert KEY not in verdict.message + answer.text


@pytest.mark.parametrize("variant", [v for v in CHECKED if "instance_profile" in v.answers.values()], ids=str)
def test_a_missing_instance_profile_fails_the_check(
    variant: Variant, metadata: Vendor, gateway: GatewayServer
):
    entity = served(variant, metadata.url, KEY)
    metadata.set_answers(Answer.json({}), at="/")
    metadata.set_answers(Answer.json({"InstanceProfileArn": f"{ARN}-of-others"}), at="/iam/info")
    verdict = check(entity, all_addresses(metadata.url))
    answer = query(gateway, entity, all_addresses(metadata.url))
    assert answer.status_code == 400
    assert verdict.progress is Progress.FAILED
    assert answer.json()["message"] in verdict.message
    metadata.set_answers(Answer.json({}, status=404), at="/iam/security-credentials/the-role")
    verdict = check(entity, all_addresses(metadata.url))
    assert verdict.progress is Progress.FAILED
    assert "this machine has none" in verdict.message


def test_a_busy_token_server_is_retried_by_the_check(vendor: Vendor, gateway: GatewayServer):
    variant = next(each for each in CHECKED if "azuread" in each.answers.values())
    entity = served(variant, vendor.url, KEY)
    for status in (408, 429, 500, 503):
        vendor.set_answers(Answer.json({}, status=status, headers={"Retry-After": "7"}), at="token")
        verdict = check(entity, all_addresses(vendor.url))
        assert (verdict.progress, verdict.retry_after) == (Progress.RETRY, 7)
        assert query(gateway, entity, all_addresses(vendor.url)).status_code == 503


def test_an_invalid_token_reply_fails_the_check_and_the_query(vendor: Vendor, gateway: GatewayServer):
    variant = next(each for each in CHECKED if "azuread" in each.answers.values())
    entity = served(variant, vendor.url, KEY)
    answers: list[Any] = [{"access_token": ["a"]}, {"access_token": ""}, {}, [], "x"]
    for content in (*answers, {"access_token": "a", "expires_in": {}}):
        vendor.set_answers(Answer(200, {}, (json.dumps(content).encode(),)), at="token")
        assert check(entity, all_addresses(vendor.url)).progress is Progress.FAILED
        assert query(gateway, entity, all_addresses(vendor.url)).status_code == 400
