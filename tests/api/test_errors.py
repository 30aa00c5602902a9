"""Every refusal is JSON with an error code, a message, and a status that clients do not retry forever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import User
from serving_ui.lib import clock
from tests.api.conftest import Caller
from tests.conftest import openai_body
from tests.support.canary import CANARY

pytestmark = pytest.mark.django_db(transaction=True)
B = "/serving-endpoints"


def test_every_path_without_a_token_is_401(anonymous: Caller):
    for method, path in (("GET", B), ("POST", B), ("DELETE", f"{B}/chat"), ("GET", f"{B}/chat/events")):
        refused = anonymous.request(method, path)
        assert refused.error == (401, "UNAUTHENTICATED")
        assert refused.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer", "Bearer wrong", "Basic abc", "Bearer \u00e9", "x" * 5000])
def test_a_wrong_token_is_refused(header: str):
    answer = Client().get("/api/2.0/serving-endpoints", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"


def test_an_expired_token_is_refused(owner: User):
    made = clock.now() - timedelta(hours=2)
    _token, value = create_access_token(user=owner, lifetime=timedelta(hours=1), now=made)
    assert Caller(value).request("GET", B).status == 401


def test_a_token_of_a_deactivated_person_is_refused(api: Caller, owner: User):
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert api.request("GET", B).status == 401


def test_a_session_cookie_does_not_authenticate_the_api(owner: User):
    browser = Client()
    browser.force_login(owner)
    assert browser.get("/api/2.0/serving-endpoints").status_code == 401


def test_an_unknown_path_is_refused_in_json(api: Caller, anonymous: Caller):
    for caller in (api, anonymous):
        for path in ("", "/", "/nothing", f"{B}/a/b/c", f"{B}//config"):
            assert caller.request("GET", path).error == (404, "ENDPOINT_NOT_FOUND")


def test_an_unsupported_method_is_refused_with_the_allowed_ones(api: Caller):
    refused = api.request("PUT", B)
    assert refused.error == (404, "ENDPOINT_NOT_FOUND")
    assert refused.headers["Allow"] == "GET, POST"


def test_an_unknown_host_header_is_refused_in_json(api: Caller):
    answer = Client().get("/api/2.0/serving-endpoints", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff",
        b"NaN",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000b"}',
        b'{"\\u0000": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_an_object_is_refused(api: Caller, body: bytes):
    refused = api.request("POST", B, body)
    assert refused.status == 400
    assert refused.body["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


def test_the_message_names_every_wrong_field_and_contains_no_secret(api: Caller):
    body: dict[str, Any] = openai_body("not a name", tags=[{"key": 1}], description=5)
    body["config"]["served_entities"][0]["external_model"]["openai_config"]["openai_api_base"] = CANARY
    body["config"]["served_entities"][0]["external_model"]["task"] = "sing"
    refused = api.request("POST", B, body)
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    fields = {detail["field"] for detail in refused.body["details"]}
    assert fields == {
        "name",
        "description",
        "config.served_entities[0].external_model.task",
        "config.served_entities[0].external_model.openai_config.openai_api_base",
        "tags[0].key",
    }
    assert all(field in refused.body["message"] for field in fields)
    assert CANARY not in refused.content.decode()


def test_a_body_with_thousands_of_errors_names_only_some(api: Caller):
    refused = api.request("POST", B, openai_body(tags=[{"key": 1}] * 1000))
    assert len(refused.body["details"]) == 50
    assert len(refused.content) < 20_000


def test_an_internal_error_is_reported_without_details(api: Caller, make_endpoint: Any, owner: User):
    made = make_endpoint("chat")
    made.versions.update(spec={"broken": CANARY})
    refused = api.request("GET", f"{B}/chat")
    assert refused.error == (500, "INTERNAL_ERROR")
    assert CANARY not in refused.content.decode()
    assert "Unexpected error" not in refused.body["message"]  # a phrase on which the SDK retries for minutes


def test_every_path_of_the_api_requires_a_token(anonymous: Caller):
    """The paths that need no token are listed here."""
    public = {"nothing"}
    for pattern in _patterns(get_resolver()):
        operations = getattr(pattern.callback, "operations", None)
        if operations is None or str(pattern.pattern).rstrip("/") in public:
            continue
        path = "/" + str(pattern.pattern).replace("<str:", "<")
        for method in operations:
            refused = anonymous.request(method, path.replace("<", "").replace(">", ""))
            assert refused.error == (401, "UNAUTHENTICATED"), path


def _patterns(resolver: URLResolver) -> list[URLPattern]:
    found: list[URLPattern] = []
    for each in resolver.url_patterns:
        found += _patterns(each) if isinstance(each, URLResolver) else [each]
    return found
