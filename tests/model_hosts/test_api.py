"""The API of model hosts."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.model_hosts.models import ModelHost
from tests.api.conftest import Caller, a_static_folder, as_admin, caller
from tests.endpoints import secret_scenario
from tests.model_hosts.conftest import FakeHost, check, deploy

__all__ = ["a_static_folder", "as_admin"]
pytestmark = pytest.mark.django_db(transaction=True)
HOSTS = "/model-hosts"
LLAMA = "/serving-endpoints/system-gpu-llama-3-1-8b"


@pytest.fixture
def body(fake: FakeHost) -> dict[str, Any]:
    return {"name": "gpu", "base_url": fake.base_url}


def test_an_admin_creates_reads_updates_and_deletes_a_host(
    as_admin: Caller, body: dict[str, Any], owner: User
):
    secret_scenario.make_scope(owner)
    made = as_admin.request_json("POST", HOSTS, {**body, "secret": secret_scenario.REFERENCE})
    assert (made["name"], made["kind"]) == ("gpu", "openai-compatible")
    assert made["secret"] == secret_scenario.REFERENCE
    assert made["state"]["health"] == "UNCHECKED"
    assert made["number_of_models"] == 0
    check(ModelHost.objects.get())
    found = as_admin.get(f"{HOSTS}/gpu")
    assert (found["state"]["health"], found["number_of_models"]) == ("ONLINE", 2)
    assert [each["name"] for each in as_admin.get(HOSTS)["model_hosts"]] == ["gpu"]
    changed = as_admin.request_json(
        "PATCH", f"{HOSTS}/gpu", {"prefix": "house", "models": [{"name": "e5", "task": "llm/v1/embeddings"}]}
    )
    assert (changed["prefix"], changed["models"]) == ("house", [{"name": "e5", "task": "llm/v1/embeddings"}])
    assert as_admin.request_json("DELETE", f"{HOSTS}/gpu") == {}
    assert as_admin.request("GET", f"{HOSTS}/gpu").error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert as_admin.get("/serving-endpoints") in ({}, {"endpoints": []})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "Name is missing"),
        ({"name": "a b"}, "hyphens and underscores"),
        ({"name": "x" * 41}, "hyphens and underscores"),
        ({"kind": "local"}, "must be one of"),
        ({"base_url": ""}, "URL"),
        ({"base_url": "ftp://x"}, ""),
        ({"base_url": "http://169.254.169.254/v1"}, "169.254.169.254"),
        ({"secret": "key"}, "{{secrets/scope/key}}"),
        ({"secret": "{{secrets/no/such}}"}, "no secret scope"),
        ({"account": {"provider": "openai"}}, "belongs to the kind provider"),
        ({"kind": "provider"}, "has its secrets and addresses in account"),
        ({"kind": "provider", "base_url": ""}, "Give the account"),
        ({"kind": "provider", "base_url": "", "account": {"provider": "none"}}, "no such provider"),
        ({"kind": "databricks"}, "token"),
        ({"models": [{"name": "a b"}]}, "cannot contain spaces"),
        ({"models": [{"name": "a", "task": "x"}]}, "must be one of"),
        ({"models": "a"}, "must be a list"),
        (
            {
                "kind": "provider",
                "base_url": "",
                "account": {"provider": "ai21labs", "ai21labs_config": {"ai21labs_api_key_plaintext": "k"}},
            },
            "has no list of models",
        ),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(
    as_admin: Caller, body: dict[str, Any], changes: dict[str, Any], sentence: str
):
    reply = as_admin.request("POST", HOSTS, {**body, **changes})
    assert reply.error == (400, "INVALID_PARAMETER_VALUE")
    assert sentence in reply.body["message"]
    assert not ModelHost.objects.exists()


def test_a_name_is_given_once(as_admin: Caller, body: dict[str, Any]):
    as_admin.request_json("POST", HOSTS, body)
    assert as_admin.request("POST", HOSTS, body).error == (409, "RESOURCE_ALREADY_EXISTS")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_only_admins_may(owner: User, as_admin: Caller, body: dict[str, Any], method: str):
    as_admin.request_json("POST", HOSTS, body)
    user = caller(owner)
    assert user.request(method, f"{HOSTS}/gpu").error == (403, "PERMISSION_DENIED")
    assert user.request("GET", HOSTS).error == (403, "PERMISSION_DENIED")
    assert user.request("POST", HOSTS, {**body, "name": "mine"}).error == (403, "PERMISSION_DENIED")
    assert ModelHost.objects.count() == 1


def test_the_endpoint_of_a_foundation_model_is_read_only_and_its_limits_are_not(
    as_admin: Caller, body: dict[str, Any], owner: User
):
    as_admin.request_json("POST", HOSTS, body)
    check(ModelHost.objects.get())
    deploy()
    shown = as_admin.get(LLAMA)
    assert shown["endpoint_type"] == "FOUNDATION_MODEL_API"
    (entity,) = shown["config"]["served_entities"]
    assert entity["foundation_model"]["display_name"] == "llama-3.1-8b"
    assert "external_model" not in entity
    external = {"name": "x", "provider": "sandbox", "task": "llm/v1/chat", "sandbox_config": {}}
    config = {"served_entities": [{"name": "x", "external_model": external}]}
    for method, path, content in (("PUT", f"{LLAMA}/config", config), ("DELETE", LLAMA, None)):
        reply = as_admin.request(method, path, content)
        assert reply.error == (403, "PERMISSION_DENIED")
        assert "follows its model host" in reply.body["message"]
        assert caller(owner).request(method, path, content).error == (403, "PERMISSION_DENIED")
    limit = {"rate_limits": [{"calls": 5, "renewal_period": "minute"}]}
    as_admin.request_json("PUT", f"{LLAMA}/rate-limits", limit)
    assert caller(owner).get(LLAMA)["name"] == "system-gpu-llama-3-1-8b"


@pytest.mark.parametrize("url", ["", "http://[", "http://x:99999999", "file:///etc/passwd", "\x00", 7, ["x"]])
def test_a_hostile_address_is_refused_when_a_host_is_changed(
    as_admin: Caller, body: dict[str, Any], url: Any
):
    as_admin.request_json("POST", HOSTS, {**body, "secret_plaintext": "key"})
    for changes in ({"base_url": url}, {"base_url": url, "secret_plaintext": "new"}):
        assert as_admin.request("PATCH", f"{HOSTS}/gpu", changes).status == 400
    assert ModelHost.objects.get().base_url == body["base_url"]
