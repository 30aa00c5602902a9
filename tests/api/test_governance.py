"""Tags, limits, AI gateway settings and timeouts: they change at once and create no config version."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.accounts.models import Group, User
from serving_ui.endpoints.models import ConfigVersion, Endpoint, Workspace
from serving_ui.gateway.snapshot import Endpoint as Served
from serving_ui.gateway.snapshot import Limit
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.api.conftest import Caller
from tests.conftest import openai_body
from tests.endpoints.conftest import settle
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]
CHAT = "/serving-endpoints/chat"


@pytest.fixture(autouse=True)
def chat(make_endpoint: Make) -> Endpoint:
    return make_endpoint("chat")


def in_force() -> Served:
    return SnapshotBuilder().build().endpoints["chat"]


def limits_in_force() -> tuple[Limit, ...]:
    return in_force().limits


def test_tags_are_added_replaced_deleted_and_sorted_by_key(api: Caller):
    first = {"add_tags": [{"key": "b", "value": "1"}, {"key": "a"}]}
    assert api.request_json("PATCH", f"{CHAT}/tags", first) == {
        "tags": [{"key": "a", "value": ""}, {"key": "b", "value": "1"}]
    }
    second = {"add_tags": [{"key": "b", "value": "2"}, {"key": "c"}], "delete_tags": ["a", "c", "absent"]}
    assert api.request_json("PATCH", f"{CHAT}/tags", second) == {"tags": [{"key": "b", "value": "2"}]}
    assert api.get(CHAT)["tags"] == [{"key": "b", "value": "2"}]


@pytest.mark.parametrize(
    "body", [{"add_tags": [{}]}, {"add_tags": "a"}, {"delete_tags": [1]}, {"add_tags": [{"key": "a"}] * 2}]
)
def test_wrong_tags_are_refused(api: Caller, body: dict[str, Any]):
    assert api.request("PATCH", f"{CHAT}/tags", body).error == (400, "INVALID_PARAMETER_VALUE")


def test_rate_limits_alone_leave_the_config_untouched(api: Caller):
    before = api.get(CHAT)
    limits = {"rate_limits": [{"key": "user", "renewal_period": "minute", "calls": 10}]}
    assert api.request_json("PUT", f"{CHAT}/rate-limits", limits) == limits
    after = api.get(CHAT)
    assert after.pop("rate_limits") == limits["rate_limits"]
    assert after.pop("last_updated_timestamp") >= before.pop("last_updated_timestamp")
    assert after == before
    assert ConfigVersion.objects.count() == 1
    assert limits_in_force() == (Limit("user", 10),)
    assert api.request_json("PUT", f"{CHAT}/rate-limits", {}) == {"rate_limits": []}
    assert limits_in_force() == ()


@pytest.mark.parametrize("limit", [{}, {"calls": "1"}, {"calls": -1}, {"calls": 1, "key": "moon"}])
def test_wrong_rate_limits_are_refused(api: Caller, limit: dict[str, Any]):
    refused = api.request("PUT", f"{CHAT}/rate-limits", {"rate_limits": [limit]})
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"].startswith("rate_limits[0]")


def test_the_ai_gateway_is_replaced_as_a_whole_and_its_call_limits_are_in_force(api: Caller):
    settings = {"rate_limits": [{"calls": 5, "key": "user", "renewal_period": "minute"}]}
    assert api.request_json("PUT", f"{CHAT}/ai-gateway", settings) == settings
    assert limits_in_force() == (Limit("user", 5),)
    assert api.get(CHAT)["ai_gateway"] == settings
    tracked = api.request_json("PUT", f"{CHAT}/ai-gateway", {"usage_tracking_config": {"enabled": False}})
    assert tracked == {"usage_tracking_config": {"enabled": False}}
    assert limits_in_force() == ()
    assert api.request_json("PUT", f"{CHAT}/ai-gateway", {}) == {}
    assert "ai_gateway" not in api.get(CHAT)


def test_settings_that_are_stored_without_effect_are_named_in_a_warning(api: Caller):
    team = Group.objects.create(name="team")
    settings = {
        "guardrails": {"input": {"pii": {"behavior": "BLOCK"}, "safety": True}},
        "fallback_config": {"enabled": False},
        "rate_limits": [{"tokens": 5, "key": "user"}, {"calls": 2, "key": "user_group", "principal": "team"}],
    }
    reply = api.request_json("PUT", f"{CHAT}/ai-gateway", settings)
    assert [warning.split()[0] for warning in reply["warnings"]] == ["guardrails"]
    assert reply["guardrails"] == settings["guardrails"]
    assert limits_in_force() == (
        Limit("user", 5, "tokens"),
        Limit("user_group", 2, principal=team.pk, shown="team"),
    )


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
    refused = api.request("PUT", f"{CHAT}/ai-gateway", body)
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == field


def test_a_warning_says_that_no_mail_is_sent(api: Caller):
    wanted = {"email_notifications": {"on_update_failure": ["team@example.com"]}}
    [warning] = api.request_json("PATCH", f"{CHAT}/notifications", wanted)["warnings"]
    assert "no e-mail" in warning
    assert "warnings" not in api.request_json("PATCH", f"{CHAT}/notifications", {})
    made = api.request_json("POST", "/serving-endpoints", {**openai_body("other"), **wanted})
    assert made["warnings"] == [warning]


def test_notifications_are_stored(api: Caller):
    wanted = {"email_notifications": {"on_update_failure": ["team@example.com"]}}
    assert api.request_json("PATCH", f"{CHAT}/notifications", wanted)["email_notifications"] == {
        "on_update_failure": ["team@example.com"]
    }
    assert api.get(CHAT)["email_notifications"] == wanted["email_notifications"]
    wrong = {"email_notifications": {"on_update_failure": ["nobody"]}}
    refused = api.request("PATCH", f"{CHAT}/notifications", wrong)
    assert refused.body["details"][0]["field"] == "email_notifications.on_update_failure[0]"


def test_telemetry_is_refused_but_its_removal_is_accepted(api: Caller):
    assert api.request_json("PATCH", f"{CHAT}/telemetry-config", {})["name"] == "chat"
    refused = api.request("PATCH", f"{CHAT}/telemetry-config", {"telemetry_config": {"enabled_features": []}})
    assert refused.error == (400, "BAD_REQUEST")
    assert "/metrics" in refused.body["message"]


def test_provisioned_throughput_needs_a_config_with_model_units(api: Caller, chat: Endpoint):
    external = {"config": openai_body()["config"]}
    for method, path, body in (
        ("POST", "/serving-endpoints/pt", {"name": "x"}),
        ("POST", "/serving-endpoints/pt", {"name": "x", **external}),
        ("PUT", "/serving-endpoints/pt/chat/config", {"config": {}}),
        ("PUT", "/serving-endpoints/pt/chat/config", external),
    ):
        assert api.request(method, path, body).error == (400, "INVALID_PARAMETER_VALUE")


def test_a_stranger_cannot_change_governance(as_stranger: Caller):
    for method, path in (
        ("PATCH", "tags"),
        ("PUT", "rate-limits"),
        ("PUT", "ai-gateway"),
        ("PATCH", "notifications"),
        ("PATCH", "telemetry-config"),
    ):
        assert as_stranger.request(method, f"{CHAT}/{path}").error == (404, "RESOURCE_DOES_NOT_EXIST")


def test_limits_of_every_kind_are_in_force_for_the_named_principals(api: Caller, chat: Endpoint):
    team, robot = (
        Group.objects.create(name="Team"),
        User.objects.create(email="3f0c", kind=User.Kind.SERVICE_PRINCIPAL),
    )
    someone = User.objects.create(email="ann@example.com")
    rate_limits = [
        {"calls": 0, "tokens": 1000, "key": "endpoint", "renewal_period": "minute"},
        {"calls": 2, "key": "user", "renewal_period": "minute"},
        {"calls": 3, "key": "user", "principal": "Ann@example.com", "renewal_period": "minute"},
        {"tokens": 4, "key": "user_group", "principal": "team", "renewal_period": "minute"},
        {"calls": 5, "key": "service_principal", "principal": "3f0c", "renewal_period": "minute"},
    ]
    assert api.request_json("PUT", f"{CHAT}/rate-limits", {"rate_limits": rate_limits}) == {
        "rate_limits": rate_limits
    }
    assert api.get(CHAT)["rate_limits"] == rate_limits
    assert limits_in_force() == (
        Limit("endpoint", 0),
        Limit("endpoint", 1000, "tokens"),
        Limit("user", 2),
        Limit("user", 3, principal=someone.pk, shown="ann@example.com"),
        Limit("user_group", 4, "tokens", principal=team.pk, shown="Team"),
        Limit("service_principal", 5, principal=robot.pk, shown="3f0c"),
    )


@pytest.mark.parametrize("key", ["user", "user_group", "service_principal"])
@pytest.mark.parametrize("place", ["rate-limits", "ai-gateway"])
def test_a_limit_for_an_unknown_principal_is_refused(api: Caller, key: str, place: str):
    limit = {"calls": 1, "key": key, "principal": "nobody"}
    refused = api.request("PUT", f"{CHAT}/{place}", {"rate_limits": [limit]})
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == "rate_limits[0].principal"
    assert "nobody" in refused.body["details"][0]["message"]
    assert limits_in_force() == ()


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("rate_limits[0].calls", {"key": "user"}),
        ("rate_limits[0].principal", {"calls": 1, "key": "user_group"}),
        ("rate_limits[0].principal", {"calls": 1, "principal": "owner@example.com"}),
    ],
)
def test_a_limit_with_missing_or_extra_fields_is_refused(api: Caller, field: str, limit: dict[str, Any]):
    refused = api.request("PUT", f"{CHAT}/rate-limits", {"rate_limits": [limit]})
    assert refused.body["details"][0]["field"] == field


def test_timeouts_are_in_force_at_once_and_can_be_set_on_create(api: Caller, sandbox: SandboxServer):
    assert "timeouts" not in api.get(CHAT)
    wanted = {"first_byte_seconds": 20, "total_seconds": 40.5}
    assert api.request_json("PUT", f"{CHAT}/timeouts", wanted) == wanted
    assert api.get(CHAT)["timeouts"] == wanted
    assert in_force().timeouts == Timeouts(first_byte=20, total=40.5)
    assert ConfigVersion.objects.count() == 1
    assert api.request_json("PUT", f"{CHAT}/timeouts", {}) == {}
    assert in_force().timeouts is None
    made = api.request_json(
        "POST", "/serving-endpoints", openai_body("other", base=sandbox.base, timeouts={"connect_seconds": 1})
    )
    assert made["timeouts"] == {"connect_seconds": 1}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("connect_seconds", {"connect_seconds": 0}),
        ("connect_seconds", {"connect_seconds": "5"}),
        ("total_seconds", {"total_seconds": 3601}),
        ("total_seconds", {"total_seconds": 59, "first_byte_seconds": 60}),
        ("first_byte_seconds", {"connect_seconds": 20, "first_byte_seconds": 10}),
    ],
)
def test_invalid_timeouts_are_refused(api: Caller, field: str, body: dict[str, Any]):
    refused = api.request("PUT", f"{CHAT}/timeouts", body)
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == field


@pytest.mark.parametrize(
    ("timeouts", "effective"),
    [
        ({"total_seconds": 3}, (3, 3, 3)),
        ({"total_seconds": 20}, (5, 20, 20)),
        ({"first_byte_seconds": 600}, (5, 600, 600)),
        ({"connect_seconds": 60}, (60, 60, 297)),
        ({"first_byte_seconds": 2}, (2, 2, 297)),
        ({"connect_seconds": 1, "total_seconds": 1000}, (1, 60, 1000)),
    ],
)
def test_a_default_timeout_is_adjusted_to_the_others(
    api: Caller, timeouts: dict[str, Any], effective: tuple[float, ...]
):
    api.request_json("PUT", f"{CHAT}/timeouts", timeouts)
    assert in_force().timeouts == Timeouts(*effective)


@pytest.mark.parametrize("setting", ["tags", *Endpoint.SETTINGS])
def test_a_setting_in_the_config_is_refused_with_the_path_that_sets_it(api: Caller, setting: str):
    config = api.get(CHAT)["config"]
    refused = api.request("PUT", f"{CHAT}/config", {**config, setting: {}})
    assert [each["field"] for each in refused.body["details"]] == [setting]
    address = re.search(r"/api/2\.0(/\S+)\.$", refused.body["details"][0]["message"])
    assert address
    assert {
        api.request(method, address[1].format(name="chat"), {}).status for method in ("PUT", "PATCH")
    } == {
        200,
        404,
    }


def test_fallback_and_traffic_shares_are_in_force(
    api: Caller, sandbox: SandboxServer, deployed: Callable[..., Endpoint]
):
    Workspace.objects.filter(pk=Workspace.here().pk).update(several_external_models=True)
    split = deployed("split", ai_gateway={"fallback_config": {"enabled": True}})
    model = openai_body("x", base=sandbox.base)["config"]["served_entities"][0]["external_model"]
    shares = [("a", 70), ("b", 30), ("spare", 0)]
    routes = [{"served_entity_name": name, "traffic_percentage": share} for name, share in shares]
    config = {
        "served_entities": [{"name": name, "external_model": model} for name, _share in shares],
        "traffic_config": {"routes": routes},
    }
    assert SnapshotBuilder().build().endpoints["split"].routes == ()
    api.request_json("PUT", "/serving-endpoints/split/config", config)
    settle(split)
    served = SnapshotBuilder().build().endpoints["split"]
    assert (served.fallback, served.routes) == (True, tuple(shares))
    assert [entity.name for entity in served.entities] == [name for name, _share in shares]
