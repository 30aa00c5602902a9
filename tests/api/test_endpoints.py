"""Create, get, list, update, delete and cancel, with the fields that Databricks clients expect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts.models import User
from serving_ui.endpoints import granting
from serving_ui.endpoints.built_in import ensure
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.vault import commands as vault
from tests.api.conftest import Caller
from tests.conftest import openai_body
from tests.endpoints.conftest import settle
from tests.support.canary import CANARY
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]
B = "/serving-endpoints"
ID = re.compile(r"[0-9a-f]{32}")


def config_body(sandbox: SandboxServer, model: str = "gpt-4o") -> dict[str, Any]:
    config: dict[str, Any] = openai_body(base=sandbox.base, model=model)["config"]
    return config


def settled(name: str) -> Endpoint:
    return settle(Endpoint.objects.get(name=name))


def test_create_returns_the_endpoint_not_ready_with_a_pending_config(api: Caller, sandbox: SandboxServer):
    made = api.request_json("POST", B, openai_body("chat", base=sandbox.base))
    assert made["name"] == "chat"
    assert made["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    assert made["pending_config"]["config_version"] == 1
    assert made["pending_config"]["start_time"] >= made["creation_timestamp"]
    assert made["config"]["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_CREATING"
    assert api.get(f"{B}/chat") == made


def example_of_the_source_document(block: dict[str, Any]) -> dict[str, Any]:
    """The example of the source document without the values that differ between runs."""
    return {
        "name": "openai_endpoint",
        "creator": "owner@example.com",
        "creator_display_name": "owner@example.com",
        "creator_kind": "User",
        "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
        "config": {
            "served_entities": [
                {
                    "name": "entity",
                    "external_model": {
                        "provider": "openai",
                        "name": "gpt-4",
                        "task": "llm/v1/chat",
                        "openai_config": block,
                    },
                    "state": {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""},
                    "creator": "owner@example.com",
                }
            ],
            "traffic_config": {
                "routes": [
                    {"served_entity_name": "entity", "served_model_name": "entity", "traffic_percentage": 100}
                ]
            },
            "config_version": 1,
        },
        "task": "llm/v1/chat",
        "description": "",
        "endpoint_type": "EXTERNAL_MODEL",
        "tags": [],
        "permission_level": "CAN_MANAGE",
        "route_optimized": False,
    }


def test_a_ready_endpoint_has_every_field_of_the_source_documents_example(api: Caller, deployed: Make):
    deployed("openai_endpoint")
    shown = api.get(f"{B}/openai_endpoint")
    assert ID.fullmatch(shown.pop("id"))
    made, changed = shown.pop("creation_timestamp"), shown.pop("last_updated_timestamp")
    assert abs(made - clock.now().timestamp() * 1000) < 60_000
    assert changed == made
    entity = shown["config"]["served_entities"][0]
    assert entity.pop("creation_timestamp") >= made
    assert shown == example_of_the_source_document(entity["external_model"]["openai_config"])


def test_an_update_keeps_the_old_config_until_the_new_one_is_ready(
    api: Caller, deployed: Make, sandbox: SandboxServer
):
    deployed("chat")
    updating = api.request_json("PUT", f"{B}/chat/config", {"name": "chat", **config_body(sandbox)})
    assert updating["state"] == {"ready": "READY", "config_update": "IN_PROGRESS"}
    assert updating["config"]["config_version"] == 1
    assert updating["pending_config"]["config_version"] == 2
    settled("chat")
    ready = api.get(f"{B}/chat")
    assert ready["config"]["config_version"] == 2
    assert "pending_config" not in ready
    assert ready["state"]["config_update"] == "NOT_UPDATING"


def test_the_response_shows_the_accepted_state_even_if_the_worker_is_faster(
    api: Caller, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    """The task runs before the response is written, as it may with a fast worker."""
    monkeypatch.setattr(
        "serving_ui.endpoints.celery_messages.send_reconcile", lambda pk: settle(Endpoint.objects.get(pk=pk))
    )
    made = api.request_json("POST", B, openai_body("chat", base=sandbox.base))
    assert made["state"]["config_update"] == "IN_PROGRESS"
    assert made["pending_config"]["config_version"] == 1
    assert api.get(f"{B}/chat")["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    updating = api.request_json("PUT", f"{B}/chat/config", config_body(sandbox))
    assert updating["pending_config"]["config_version"] == 2
    assert api.get(f"{B}/chat")["config"]["config_version"] == 2


def test_an_update_while_one_runs_is_refused(api: Caller, make_endpoint: Make, sandbox: SandboxServer):
    make_endpoint("chat", base=sandbox.base)
    refused = api.request("PUT", f"{B}/chat/config", config_body(sandbox))
    assert refused.error == (409, "RESOURCE_CONFLICT")


def test_an_update_can_be_cancelled_and_only_while_one_runs(
    api: Caller, deployed: Make, sandbox: SandboxServer
):
    deployed("chat")
    api.request_json("PUT", f"{B}/chat/config", config_body(sandbox))
    after = api.request_json("POST", f"{B}/chat/config:cancel")
    assert after["state"] == {"ready": "READY", "config_update": "UPDATE_CANCELED"}
    assert after["config"]["config_version"] == 1
    assert "pending_config" not in after
    assert api.request("POST", f"{B}/chat/config:cancel").error == (409, "RESOURCE_CONFLICT")


def test_a_failed_first_config_is_shown_with_the_reason(
    api: Caller, make_endpoint: Make, sandbox: SandboxServer
):
    sandbox.set_faults(on="models", status=401)
    settle(make_endpoint("chat", base=sandbox.base))
    shown = api.get(f"{B}/chat")
    assert shown["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
    state = shown["config"]["served_entities"][0]["state"]
    assert state["deployment"] == "DEPLOYMENT_FAILED"
    assert state["deployment_state_message"]
    assert "pending_config" not in shown


def test_delete_returns_an_object_and_frees_the_name(api: Caller, make_endpoint: Make):
    make_endpoint("chat")
    assert api.request_json("DELETE", f"{B}/chat") == {}
    assert api.request("GET", f"{B}/chat").error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert api.get(B) == {"endpoints": []}


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_works_with_and_without_a_trailing_slash(api: Caller, sandbox: SandboxServer, slash: str):
    made = api.request_json("POST", B + slash, openai_body("chat", base=sandbox.base))
    assert made["name"] == "chat"
    assert len(api.get(B + slash)["endpoints"]) == 1
    assert api.get(f"{B}/chat{slash}")["name"] == "chat"
    assert api.request_json("PUT", f"{B}/chat/rate-limits{slash}", {}) == {"rate_limits": []}


def test_the_list_contains_only_visible_endpoints(
    api: Caller, as_stranger: Caller, as_admin: Caller, make_endpoint: Make
):
    make_endpoint("first")
    make_endpoint("second", tags=[{"key": "team", "value": "a"}])
    newest, oldest = api.get(B)["endpoints"]
    assert (newest["name"], oldest["name"]) == ("second", "first")
    assert newest["tags"] == [{"key": "team", "value": "a"}]
    assert newest["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    assert newest["config"]["served_entities"][0]["external_model"]["provider"] == "openai"
    assert newest["creator"] == "owner@example.com"
    assert as_stranger.get(B) == {"endpoints": []}
    assert len(as_admin.get(B)["endpoints"]) == 2


def test_list_and_get_return_the_same_fields(api: Caller, deployed: Make):
    deployed("chat", rate_limits=[{"calls": 3}], description="Ours")
    (item,) = api.get(B)["endpoints"]
    whole = api.get(f"{B}/chat")
    config, entities = item.pop("config"), whole["config"]["served_entities"]
    assert {name: whole[name] for name in item} == item
    assert config["served_entities"] == [
        {name: entity[name] for name in ("name", "external_model")} for entity in entities
    ]


def test_a_built_in_endpoint_is_shown_without_a_creator(api: Caller):
    ensure()
    shown = api.get(f"{B}/sandbox-chat")
    assert "creator" not in shown
    assert shown["permission_level"] == "CAN_QUERY"
    assert api.request("DELETE", f"{B}/sandbox-chat").error == (403, "PERMISSION_DENIED")


def test_a_viewer_can_read_but_not_change(
    as_stranger: Caller, owner: User, stranger: User, make_endpoint: Make
):
    make_endpoint("chat")
    assert as_stranger.request("GET", f"{B}/chat").error == (404, "RESOURCE_DOES_NOT_EXIST")
    granting.grant(name="chat", to=stranger.email, level=Level.CAN_VIEW, actor=owner, now=clock.now())
    assert as_stranger.get(f"{B}/chat")["permission_level"] == "CAN_VIEW"
    for method, path in (("DELETE", ""), ("PUT", "/rate-limits"), ("POST", "/config:cancel")):
        assert as_stranger.request(method, f"{B}/chat{path}").error == (403, "PERMISSION_DENIED")


def test_no_response_contains_a_pasted_secret_but_references_are_shown(
    api: Caller, owner: User, sandbox: SandboxServer
):
    vault.create_scope(name="mine", actor=owner, now=clock.now())
    vault.put_secret(scope="mine", key="openai", value=CANARY, actor=owner, now=clock.now())
    named = openai_body("named", base=sandbox.base)
    block = named["config"]["served_entities"][0]["external_model"]["openai_config"]
    del block["openai_api_key_plaintext"]
    block["openai_api_key"] = "{{secrets/mine/openai}}"
    answers = [
        api.request("POST", B, openai_body("pasted", base=sandbox.base)),
        api.request("POST", B, named),
        *(api.request("GET", B + path) for path in ("", "/pasted", "/named", "/pasted/config-versions")),
    ]
    assert all(answer.status == 200 for answer in answers)
    assert not [answer for answer in answers if CANARY in answer.content.decode()]
    assert "{{secrets/mine/openai}}" in answers[1].content.decode()
    for answer in answers:
        assert "plaintext" not in answer.content.decode()
        assert "stored" not in answer.content.decode()


def test_unknown_fields_are_accepted_with_a_warning(api: Caller, sandbox: SandboxServer):
    body = openai_body("chat", base=sandbox.base, budget_policy_id="b", ai_gateway={"colour": "red"})
    body["config"]["auto_capture_config"] = {"enabled": True}
    made = api.request_json("POST", B, body)
    assert [warning.split()[0] for warning in made["warnings"]] == [
        "budget_policy_id",
        "config.auto_capture_config",
        "ai_gateway.colour",
    ]
    assert "warnings" not in api.get(f"{B}/chat")


def test_route_optimization_is_refused_with_a_message(api: Caller, sandbox: SandboxServer):
    refused = api.request("POST", B, openai_body("chat", base=sandbox.base, route_optimized=True))
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == "route_optimized"
    assert api.request_json("POST", B, openai_body("chat", base=sandbox.base, route_optimized=False))


def test_an_update_with_fields_that_are_not_config_is_refused(
    api: Caller, deployed: Make, sandbox: SandboxServer
):
    deployed("chat")
    refused = api.request("PUT", f"{B}/chat/config", {**config_body(sandbox), "rate_limits": [{"calls": 1}]})
    assert refused.error == (400, "INVALID_PARAMETER_VALUE")
    assert refused.body["details"][0]["field"] == "rate_limits"
    assert api.get(f"{B}/chat")["state"]["config_update"] == "NOT_UPDATING"


def test_a_repeated_create_names_the_creator_the_time_and_whether_the_config_is_the_same(
    api: Caller, as_stranger: Caller, sandbox: SandboxServer
):
    body = openai_body("chat", base=sandbox.base)
    api.request_json("POST", B, body)
    same = api.request("POST", B, body)
    assert same.error == (409, "RESOURCE_ALREADY_EXISTS")
    assert "owner@example.com" in same.body["message"]
    assert "the same" in same.body["message"]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", same.body["message"])
    other = json.loads(json.dumps(body).replace(CANARY, "sk-another"))
    assert "differs" in api.request("POST", B, other).body["message"]
    hidden = as_stranger.request("POST", B, body)
    assert hidden.error == (409, "RESOURCE_ALREADY_EXISTS")
    assert "owner@example.com" not in hidden.body["message"]


@pytest.mark.parametrize("count", [3, 250])
def test_the_list_needs_two_database_queries_for_any_length(
    api: Caller, make_endpoint: Make, owner: User, count: int
):
    first = make_endpoint("e0")
    rows = [
        Endpoint(
            workspace_id=first.workspace_id,
            name=f"e{number}",
            creator=owner,
            created_at=first.created_at,
            modified_at=first.modified_at,
            latest_id=first.latest_id,
        )
        for number in range(1, count)
    ]
    Endpoint.objects.bulk_create(rows)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = api.get(B)["endpoints"]
    assert len({item["name"] for item in found}) == count
    assert len(queries) <= 3, [query["sql"] for query in queries]


def test_a_name_alone_creates_an_endpoint_that_waits_for_its_config(as_admin: Caller):
    made = as_admin.request("POST", "/serving-endpoints", {"name": "later"}).body
    assert made["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING"}
    assert not {"config", "pending_config", "task", "endpoint_type"} & made.keys()
    listed = as_admin.request("GET", "/serving-endpoints").body["endpoints"]
    assert "config" not in next(each for each in listed if each["name"] == "later")
    again = as_admin.request("POST", "/serving-endpoints", {"name": "later"})
    assert (again.status, "there is nothing left to do" in again.body["message"]) == (409, True)


def test_models_of_your_own_need_ray_serve(as_admin: Caller):
    own = {"served_entities": [{"entity_name": "iris", "entity_version": "1"}]}
    refused = as_admin.request("POST", "/serving-endpoints", {"name": "iris", "config": own})
    assert (refused.status, "Ray Serve" in refused.body["message"]) == (400, True)
