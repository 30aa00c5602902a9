"""What changes at once and makes no config version; what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.snapshots import SnapshotBuilder
from tests.api.conftest import Caller
from tests.conftest import openai_body

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]
CHAT = "/serving-endpoints/chat"


@pytest.fixture(autouse=True)
def chat(make_endpoint: Make) -> Endpoint:
    return make_endpoint("chat")


def limits_in_force() -> tuple[tuple[str, int], ...]:
    return SnapshotBuilder().build().endpoints["chat"].rate_limits


def test_tags_are_added_replaced_and_deleted_and_come_back_by_key(api: Caller):
    first = {"add_tags": [{"key": "b", "value": "1"}, {"key": "a"}]}
    assert api.done("PATCH", f"{CHAT}/tags", first) == {
        "tags": [{"key": "a", "value": ""}, {"key": "b", "value": "1"}]
    }
    second = {"add_tags": [{"key": "b", "value": "2"}, {"key": "c"}], "delete_tags": ["a", "c", "absent"]}
    assert api.done("PATCH", f"{CHAT}/tags", second) == {"tags": [{"key": "b", "value": "2"}]}
    assert api.get(CHAT)["tags"] == [{"key": "b", "value": "2"}]


@pytest.mark.parametrize(
    "body", [{"add_tags": [{}]}, {"add_tags": "a"}, {"delete_tags": [1]}, {"add_tags": [{"key": "a"}] * 2}]
)
def test_wrong_tags_are_refused(api: Caller, body: dict[str, Any]):
    assert api.ask("PATCH", f"{CHAT}/tags", body).error == (400, "INVALID_PARAMETER_VALUE")


def test_rate_limits_alone_leave_the_config_untouched(api: Caller):
    before = api.get(CHAT)
    limits = {"rate_limits": [{"key": "user", "renewal_period": "minute", "calls": 10}]}
    assert api.done("PUT", f"{CHAT}/rate-limits", limits) == limits
    after = api.get(CHAT)
    assert after.pop("rate_limits") == limits["rate_limits"]
    assert after.pop("last_updated_timestamp") >= before.pop("last_updated_timestamp")
    assert after == before
    assert ConfigVersion.objects.count() == 1
    assert limits_in_force() == (("user", 10),)
    assert api.done("PUT", f"{CHAT}/rate-limits", {}) == {"rate_limits": []}
    assert limits_in_force() == ()


@pytest.mark.parametrize("limit", [{}, {"calls": "1"}, {"calls": -1}, {"calls": 1, "key": "moon"}])
def test_wrong_rate_limits_are_refused(api: Caller, limit: dict[str, Any]):
    refused = api.ask("PUT", f"{CHAT}/rate-limits", {"rate_limits": [limit]})
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"].startswith("rate_limits[0]")


def test_the_ai_gateway_is_replaced_as_a_whole_and_its_call_limits_are_in_force(api: Caller):
    settings = {"rate_limits": [{"calls": 5, "key": "user", "renewal_period": "minute"}]}
    assert api.done("PUT", f"{CHAT}/ai-gateway", settings) == settings
    assert limits_in_force() == (("user", 5),)
    assert api.get(CHAT)["ai_gateway"] == settings
    tracked = api.done("PUT", f"{CHAT}/ai-gateway", {"usage_tracking_config": {"enabled": False}})
    assert tracked == {"usage_tracking_config": {"enabled": False}}
    assert limits_in_force() == ()
    assert api.done("PUT", f"{CHAT}/ai-gateway", {}) == {}
    assert "ai_gateway" not in api.get(CHAT)


def test_what_is_kept_and_not_carried_out_is_said(api: Caller):
    settings = {
        "guardrails": {"input": {"pii": {"behavior": "BLOCK"}, "safety": True}},
        "fallback_config": {"enabled": False},
        "rate_limits": [{"tokens": 5, "key": "user"}, {"calls": 2, "key": "user_group", "principal": "team"}],
    }
    kept = api.done("PUT", f"{CHAT}/ai-gateway", settings)
    assert [warning.split()[0] for warning in kept["warnings"]] == [
        "guardrails",
        "rate_limits[0]",
        "rate_limits[1]",
    ]
    assert kept["guardrails"] == settings["guardrails"]
    assert limits_in_force() == ()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("fallback_config.enabled", {"fallback_config": {}}),
        ("guardrails.input.pii.behavior", {"guardrails": {"input": {"pii": {"behavior": "SHOUT"}}}}),
        ("rate_limits[0].calls", {"rate_limits": [{"key": "user"}]}),
        ("guardrails", {"guardrails": []}),
    ],
)
def test_wrong_ai_gateway_settings_are_refused(api: Caller, field: str, body: dict[str, Any]):
    refused = api.ask("PUT", f"{CHAT}/ai-gateway", body)
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == field


def test_it_is_said_that_no_mail_is_sent(api: Caller):
    wanted = {"email_notifications": {"on_update_failure": ["team@example.com"]}}
    [told] = api.done("PATCH", f"{CHAT}/notifications", wanted)["warnings"]
    assert "no e-mail" in told
    assert "warnings" not in api.done("PATCH", f"{CHAT}/notifications", {})
    made = api.done("POST", "/serving-endpoints", {**openai_body("other"), **wanted})
    assert made["warnings"] == [told]


def test_notifications_are_kept(api: Caller):
    wanted = {"email_notifications": {"on_update_failure": ["team@example.com"]}}
    assert api.done("PATCH", f"{CHAT}/notifications", wanted)["email_notifications"] == {
        "on_update_failure": ["team@example.com"]
    }
    assert api.get(CHAT)["email_notifications"] == wanted["email_notifications"]
    wrong = {"email_notifications": {"on_update_failure": ["nobody"]}}
    refused = api.ask("PATCH", f"{CHAT}/notifications", wrong)
    assert refused.body["details"][0]["field"] == "email_notifications.on_update_failure[0]"


def test_telemetry_is_refused_and_its_removal_is_not(api: Caller):
    assert api.done("PATCH", f"{CHAT}/telemetry-config", {})["name"] == "chat"
    refused = api.ask("PATCH", f"{CHAT}/telemetry-config", {"telemetry_config": {"enabled_features": []}})
    assert refused.error == (400, "BAD_REQUEST")
    assert "/metrics" in refused.body["message"]


def test_provisioned_throughput_is_refused_with_a_sentence(api: Caller):
    assert api.ask("POST", "/serving-endpoints/pt", {"name": "x"}).error == (400, "BAD_REQUEST")
    assert api.ask("PUT", "/serving-endpoints/pt/chat/config", {"config": {}}).error == (400, "BAD_REQUEST")


def test_a_stranger_changes_nothing(as_stranger: Caller):
    for method, path in (
        ("PATCH", "tags"),
        ("PUT", "rate-limits"),
        ("PUT", "ai-gateway"),
        ("PATCH", "notifications"),
        ("PATCH", "telemetry-config"),
    ):
        assert as_stranger.ask(method, f"{CHAT}/{path}").error == (404, "RESOURCE_DOES_NOT_EXIST")
