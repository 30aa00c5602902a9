"""Several served entities in one form, rate limits, timeouts, fallback, and the setting for several models; without JavaScript."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import Group, User
from serving_ui.catalogue.limits import MAX_RATE_LIMITS
from serving_ui.endpoints.models import Endpoint, Workspace
from serving_ui.lib import clock
from serving_ui.revisions.models import GatewayProcess
from tests.pages.conftest import CREATE, FIELDS, HTMX, openai, settle, signed_in
from tests.support.canary import CANARY
from tests.support.pages import Page

EDIT = "/ml/endpoints/my-chat/edit"
KEY = "openai__openai_api_key_plaintext"
MODEL = "openai__external_model_name"


@pytest.fixture
def several(db: None) -> None:
    Workspace.objects.filter(pk=Workspace.here().pk).update(several_external_models=True)


def filled(browser: Client, fields: dict[str, str], to: str = CREATE, **more: str) -> Page:
    """The page after the form was sent with a button."""
    response = browser.post(to, fields | more)
    assert response.status_code == 200
    return Page(response)


def two_entities(browser: Client) -> dict[str, str]:
    """The fields of a form with gpt-4o at 70 % and o1, which is open, at 30 %."""
    first = filled(browser, openai(), _add_entity="1").fields()
    assert MODEL not in first
    second = filled(browser, first, _confirm="1", dialog_provider="openai").fields()
    return second | {MODEL: "o1", KEY: "sk-second", "traffic-0": "70", "traffic-1": "30"}


def made(name: str = "my-chat") -> Endpoint:
    return Endpoint.objects.select_related("active", "pending", "latest").get(name=name)


def served(endpoint: Endpoint) -> list[tuple[str, int]]:
    version = endpoint.pending or endpoint.active
    assert version is not None
    return [(r.served_entity_name, r.traffic_percentage) for r in version.config.traffic_config.routes]


def test_an_endpoint_with_two_models_is_created_entity_by_entity(browser: Client, several: None):
    fields = two_entities(browser) | {"fallback": "1"}
    assert browser.post(CREATE, fields).status_code == 303
    endpoint = made()
    assert served(endpoint) == [("gpt-4o", 70), ("o1", 30)]
    assert endpoint.ai_gateway == {"fallback_config": {"enabled": True}}
    settle(endpoint, "active")
    text = Page(browser.get("/ml/endpoints/my-chat")).text
    assert "On: up to two further entities" in text


def test_the_key_of_a_closed_entity_is_sealed_in_the_form(browser: Client, several: None):
    packed = filled(browser, openai(**{KEY: CANARY}), _add_entity="1")
    assert CANARY not in packed.html
    assert browser.post(CREATE, packed.fields() | {"_remove_entity": "1"}).status_code == 200


def test_a_closed_entity_opens_with_its_values(browser: Client, several: None):
    page = filled(browser, two_entities(browser), _open_entity="0")
    fields = page.fields()
    assert (fields[MODEL], fields["entity_at"], fields["traffic-1"]) == ("gpt-4o", "0", "30")
    assert browser.post(CREATE, fields).status_code == 303
    assert served(made()) == [("gpt-4o", 70), ("o1", 30)]


@pytest.mark.parametrize(("removed", "left"), [("0", "o1"), ("1", "gpt-4o")])
def test_removing_one_entity_leaves_the_other(browser: Client, several: None, removed: str, left: str):
    fields = filled(browser, two_entities(browser), _remove_entity=removed).fields()
    assert fields[MODEL] == left
    assert "traffic-0" not in fields
    assert browser.post(CREATE, fields).status_code == 303
    assert served(made()) == [(left, 100)]


def test_errors_of_a_closed_entity_are_shown_in_its_row(browser: Client, several: None):
    fields = two_entities(browser)
    closed = filled(browser, fields | {MODEL: ""}, _open_entity="0").fields()
    page = Page(browser.post(CREATE, closed))
    assert set(page.errors()) == {"traffic-1"}
    page = Page(browser.post(CREATE, fields | {"traffic-1": "20"}))
    assert "add up to 100" in page.errors()["traffic-0"]
    page = Page(browser.post(CREATE, fields | {"traffic-1": "many"}))
    assert set(page.errors()) == {"traffic-1"}


def test_the_fallback_choice_warns_that_a_request_can_be_paid_for_twice(browser: Client, several: None):
    assert "it can be billed twice" in filled(browser, openai(), _add_entity="1").text


def test_editing_one_entity_keeps_the_other(browser: Client, several: None):
    browser.post(CREATE, two_entities(browser) | {"fallback": "1"})
    endpoint = settle(made(), "active")
    fields = Page(browser.get(EDIT)).fields()
    assert browser.post(EDIT, fields).status_code == 303
    assert "Nothing was changed" in Page(browser.get("/ml/endpoints/my-chat")).messages()
    opened = filled(browser, fields, to=EDIT, _open_entity="1").fields()
    assert browser.post(EDIT, opened | {MODEL: "o3"}).status_code == 303
    changed = made()
    assert served(changed) == [("gpt-4o", 70), ("o3", 30)]
    assert changed.pending is not None and endpoint.active is not None
    assert changed.pending.config.secrets() == endpoint.active.config.secrets()


def test_removing_the_open_entity_creates_a_version_without_it(browser: Client, several: None):
    browser.post(CREATE, two_entities(browser))
    settle(made(), "active")
    fields = filled(browser, Page(browser.get(EDIT)).fields(), to=EDIT, _remove_entity="0").fields()
    assert browser.post(EDIT, fields).status_code == 303
    assert served(made()) == [("o1", 100)]


def test_a_stored_key_is_not_sent_to_the_address_of_another_entity(browser: Client, several: None):
    base = "openai__openai_api_base"
    fields = two_entities(browser) | {base: "http://127.0.0.1:9/v1"}
    assert browser.post(CREATE, fields).status_code == 303
    settle(made(), "active")
    first = Page(browser.get(EDIT)).fields()
    page = Page(browser.post(EDIT, first | {base: "http://127.0.0.1:9/v1"}))
    assert "only sent to the destination it was entered for" in page.errors()["openai__openai_api_key"]


def test_one_entity_needs_no_traffic_and_no_list(browser: Client, db: None):
    page = filled(browser, openai(), _redraw="1")
    assert not page.has("add-entity")
    assert "traffic-0" not in page.fields()


def test_htmx_gets_only_the_part_that_a_button_changes(browser: Client, several: None):
    for step, part in (("_add_entity", "entities"), ("_add_limit", "limits"), ("_remove_limit", "limits")):
        page = Page(browser.post(FIELDS, openai(**{step: "1"}), headers=HTMX))
        assert page.has(part)
        assert not page.has("endpoint-form")


@pytest.mark.parametrize("packed", ["{", "[1]", '[{"name": 1}]', '{"a": 1}', "[" * 9999, '[{"x": "y"}]'])
def test_an_invalid_hidden_field_is_no_server_error(browser: Client, several: None, packed: str):
    for at in ("0", "7", "-1", "x", "²"):
        answer = browser.post(CREATE, openai(other_entities=packed, entity_at=at, _open_entity="0"))
        assert answer.status_code == 200


def test_further_limits_are_set_shown_and_kept(browser: Client, ready: Endpoint):
    Group.objects.create(name="team")
    edit = "/ml/endpoints/chat/edit"
    fields = Page(browser.get(edit)).fields() | {"rate_limit_endpoint": "9"}
    row = filled(browser, fields, to=edit, _add_limit="1").fields()
    limit = {"limits-0-key": "user_group", "limits-0-principal": "team", "limits-0-tokens": "500"}
    assert browser.post(edit, row | limit).status_code == 303
    stored = [
        {"key": "endpoint", "calls": 9, "renewal_period": "minute"},
        {"key": "user_group", "principal": "team", "tokens": 500, "renewal_period": "minute"},
    ]
    assert made("chat").rate_limits == stored
    text = Page(browser.get("/ml/endpoints/chat")).text
    assert "9 a minute" in text and "500 tokens a minute for the group team together" in text
    again = Page(browser.get(edit)).fields()
    assert browser.post(edit, again).status_code == 303
    assert made("chat").rate_limits == stored
    Group.objects.filter(name="team").update(name="crew")
    assert "(now named crew)" in Page(browser.get("/ml/endpoints/chat")).text
    Group.objects.get(name="crew").delete()
    Group.objects.create(name="team")
    assert (
        "has no effect: the team that it was set for no longer exists"
        in Page(browser.get("/ml/endpoints/chat")).text
    )
    again = Page(browser.get(edit)).fields()
    assert browser.post(edit, again).status_code == 303
    assert "has no effect:" not in Page(browser.get("/ml/endpoints/chat")).text
    gone = filled(browser, Page(browser.get(edit)).fields(), to=edit, _remove_limit="0").fields()
    assert browser.post(edit, gone).status_code == 303
    assert made("chat").rate_limits == stored[:1]


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"principal": "nobody", "calls": "1"}, "limits-0-principal"),
        ({"key": "user", "calls": "x"}, "limits-0-calls"),
        ({"key": "user_group", "tokens": "5"}, "limits-0-principal"),
        ({"key": "user", "principal": "owner@example.com"}, "limits-0-calls"),
    ],
)
def test_the_error_of_a_limit_is_shown_beside_its_input(
    browser: Client, db: None, cells: dict[str, str], field: str
):
    row = {"key": "user_group", "principal": "", "calls": "", "tokens": ""} | cells
    page = Page(browser.post(CREATE, openai(**{f"limits-0-{part}": text for part, text in row.items()})))
    assert set(page.errors()) == {field}


def test_limits_of_the_ai_gateway_settings_are_changed_there(browser: Client, ready: Endpoint):
    edit = "/ml/endpoints/chat/edit"
    other = {"usage_tracking_config": {"enabled": True}}
    limit = {"key": "user", "principal": "owner@example.com", "calls": 4, "renewal_period": "minute"}
    Endpoint.objects.update(ai_gateway={**other, "rate_limits": [limit]})
    assert Page(browser.get("/ml/endpoints/chat")).id("limits-link").attrs["href"] == f"{edit}#rate-limits"
    fields = filled(browser, Page(browser.get(edit)).fields(), to=edit, _add_limit="1").fields()
    assert (fields["limits-0-place"], fields["limits-0-calls"]) == ("ai_gateway", "4")
    robots = {"limits-1-key": "service_principal", "limits-1-tokens": "0"}
    page = Page(browser.post(edit, fields | robots | {"limits-0-principal": "nobody"}))
    assert set(page.errors()) == {"limits-0-principal"}
    page = Page(browser.post(edit, fields | robots | {"limits-0-calls": "x"}))
    assert set(page.errors()) == {"limits-0-calls"}
    assert browser.post(edit, fields | robots | {"limits-0-calls": "5"}).status_code == 303
    assert made("chat").ai_gateway == {**other, "rate_limits": [{**limit, "calls": 5}]}
    assert "5 a minute for owner@example.com" in Page(browser.get("/ml/endpoints/chat")).text
    assert [(each["key"], each["tokens"]) for each in made("chat").rate_limits] == [("service_principal", 0)]
    # The form shows the endpoint's own limits before those of the AI gateway settings.
    fields = filled(browser, Page(browser.get(edit)).fields(), to=edit, _remove_limit="1").fields()
    assert browser.post(edit, fields).status_code == 303
    assert made("chat").ai_gateway == {**other, "rate_limits": []}
    assert len(made("chat").rate_limits) == 1


def test_the_form_loses_none_of_many_limits_and_tags(browser: Client, ready: Endpoint):
    for number in range(MAX_RATE_LIMITS):
        Group.objects.create(name=f"team-{number}")
    limits = [
        {"key": "user_group", "principal": f"team-{number}", "calls": 1, "renewal_period": "minute"}
        for number in range(MAX_RATE_LIMITS)
    ]
    tags = [{"key": f"key-{number:03}", "value": "x"} for number in range(100)]
    Endpoint.objects.update(rate_limits=limits, ai_gateway={"rate_limits": limits}, tags=tags)
    fields = Page(browser.get("/ml/endpoints/chat/edit")).fields() | {"description": "Changed."}
    assert browser.post("/ml/endpoints/chat/edit", fields).status_code == 303
    endpoint = made("chat")
    assert endpoint.description == "Changed."
    assert (endpoint.rate_limits, endpoint.ai_gateway["rate_limits"], endpoint.tags) == (limits, limits, tags)


def test_timeouts_are_set_and_shown(browser: Client, ready: Endpoint):
    edit = "/ml/endpoints/chat/edit"
    assert "297 s in total" in Page(browser.get("/ml/endpoints/chat")).text
    fields = Page(browser.get(edit)).fields()
    assert browser.post(edit, fields | {"timeout_total_seconds": "20.5"}).status_code == 303
    assert made("chat").timeouts == {"total_seconds": 20.5}
    assert "20.5 s in total" in Page(browser.get("/ml/endpoints/chat")).text
    assert Page(browser.get(edit)).fields()["timeout_total_seconds"] == "20.5"
    for wrong in ("0", "x", "4000", "nan", "1e999", "²"):
        page = Page(browser.post(edit, fields | {"timeout_total_seconds": wrong}))
        assert set(page.errors()) == {"timeout_total_seconds"}


def test_the_form_of_a_single_entity_keeps_a_fallback_setting(browser: Client, ready: Endpoint):
    Endpoint.objects.update(ai_gateway={"fallback_config": {"enabled": True}})
    fields = Page(browser.get("/ml/endpoints/chat/edit")).fields()
    assert browser.post("/ml/endpoints/chat/edit", fields).status_code == 303
    assert made("chat").ai_gateway == {"fallback_config": {"enabled": True}}


def test_the_page_warns_while_limits_are_not_counted_together(browser: Client, ready: Endpoint):
    Endpoint.objects.update(rate_limits=[{"key": "endpoint", "calls": 5, "renewal_period": "minute"}])
    process: dict[str, Any] = {"id": "p", "revision": 10**9, "seen_at": clock.now()}
    row = GatewayProcess.objects.create(**process, limits="shared")
    assert not Page(browser.get("/ml/endpoints/chat")).has("redis-is-down")
    row.limits = "apart"
    row.save()
    assert "Redis is unreachable" in Page(browser.get("/ml/endpoints/chat")).id("redis-is-down").text


def test_only_admins_may_change_the_setting_for_several_models(browser: Client, owner: User):
    assert "Several external models" not in Page(browser.get("/settings")).text
    assert browser.post("/settings", {"workspace": "1", "several_external_models": "1"}).status_code == 403
    assert not Workspace.here().several_external_models
    admin = signed_in(User.objects.create(email="root@example.com", is_admin=True))
    for setting, allowed in (({"several_external_models": "1"}, True), ({}, False)):
        assert admin.post("/settings", {"workspace": "1", **setting}).status_code == 303
        assert Workspace.here().several_external_models is allowed
        assert (admin.get(CREATE).content.find(b"add-entity") > 0) is allowed
