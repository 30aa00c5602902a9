"""A POST that is repeated with the same Idempotency-Key within a day is not executed again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from serving_ui.api.idempotency import RESERVATION_TIMEOUT, RETENTION
from serving_ui.api.models import IdempotentReply
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.revisions import gateways
from serving_ui.vault import ciphers
from serving_ui.vault.models import Scope
from tests.api.conftest import Caller, Reply
from tests.conftest import openai_body
from tests.support.canary import CANARY
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
B = "/serving-endpoints"
KEY = "7c2f1f0e-6a7e-4c39-8a3e-0f3f4b1f6d1a"


def create(api: Caller, sandbox: SandboxServer, name: str = "chat", key: str = KEY) -> Reply:
    return api.request("POST", B, openai_body(name, base=sandbox.base), Idempotency_Key=key)


def make_older(age: timedelta) -> None:
    IdempotentReply.objects.update(created_at=clock.now() - age)


def test_a_repeated_request_gets_the_first_response(api: Caller, sandbox: SandboxServer):
    first, again = create(api, sandbox), create(api, sandbox)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Endpoint.objects.count() == 1


def test_a_key_with_another_body_is_refused(api: Caller, sandbox: SandboxServer):
    create(api, sandbox)
    assert create(api, sandbox, "other").error == (400, "INVALID_PARAMETER_VALUE")
    assert Endpoint.objects.count() == 1


def test_a_key_is_valid_for_its_user_only(api: Caller, as_stranger: Caller, sandbox: SandboxServer):
    create(api, sandbox)
    assert create(as_stranger, sandbox, "other").status == 200
    assert Endpoint.objects.count() == 2


def test_a_refused_request_can_be_corrected_with_the_same_key(api: Caller, sandbox: SandboxServer):
    assert create(api, sandbox, "not a name").status == 400
    assert create(api, sandbox).status == 200


def test_a_key_expires_after_a_day(api: Caller, sandbox: SandboxServer):
    create(api, sandbox)
    make_older(RETENTION + timedelta(minutes=1))
    assert create(api, sandbox, "other").status == 200


def test_a_key_reserved_by_the_previous_version_is_respected(api: Caller, sandbox: SandboxServer):
    """During a rolling upgrade the previous version stores the key without a reply while it executes the request."""
    create(api, sandbox)
    IdempotentReply.objects.update(reply="")
    running = create(api, sandbox)
    assert running.error == (409, "RESOURCE_CONFLICT")
    assert running.headers["Retry-After"] == "1"
    make_older(RESERVATION_TIMEOUT + timedelta(seconds=1))
    taken_over = create(api, sandbox)  # the process of the first request has died, so the request is executed
    assert taken_over.error == (409, "RESOURCE_ALREADY_EXISTS")
    assert "the same" in taken_over.body["message"]


def test_the_change_and_its_stored_reply_are_committed_together(
    api: Caller, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    def lost(*_call: object) -> tuple[str, str]:
        raise OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(ciphers.KeyRing, "encrypt", lost)
        body = {"scope": "keys"}
        assert api.request("POST", "/secrets/scopes/create", body, Idempotency_Key=KEY).status == 503
    assert not Scope.objects.exists()
    for _time in range(2):
        assert api.request("POST", "/secrets/scopes/create", body, Idempotency_Key=KEY).status == 200


def test_a_repeated_reply_waits_until_the_change_is_in_force(api: Caller, monkeypatch: pytest.MonkeyPatch):
    """The first connection may have been lost while the response waited for gateways."""
    monkeypatch.setattr(gateways, "ACKNOWLEDGEMENT_TIMEOUT", timedelta(0))
    api.request_json("POST", "/token/create", {}, Idempotency_Key=KEY)
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(minutes=1))
    gateways.acknowledge(process="slow-1", revision=1)
    again = api.request("POST", "/token/create", {}, Idempotency_Key=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.body["warnings"] == ["The gateway process slow-1 does not serve this change yet."]
    assert again.body["token_value"]


def test_exactly_one_of_several_concurrent_repetitions_is_executed(api: Caller, sandbox: SandboxServer):
    def race(_number: int) -> int:
        try:
            return create(api, sandbox).status
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(race, range(4)))
    assert 200 in statuses
    assert set(statuses) <= {200, 409}
    assert Endpoint.objects.count() == 1


def test_a_stored_reply_is_encrypted_and_contains_no_secret(api: Caller, sandbox: SandboxServer):
    create(api, sandbox)
    row = IdempotentReply.objects.get()
    assert row.reply
    assert "chat" not in row.reply
    assert CANARY not in f"{row.reply} {row.request_digest}"


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_key_is_refused(api: Caller, sandbox: SandboxServer, key: str):
    assert create(api, sandbox, key=key).error == (400, "INVALID_PARAMETER_VALUE")
