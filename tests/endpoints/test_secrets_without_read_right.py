"""A manager without the right to read a secret can keep it only for the same destination."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.spec import ConfigSpec, parse_config, parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.vault import commands as vault

pytestmark = pytest.mark.django_db(transaction=True)
REFERENCE = "{{secrets/prod/key}}"
AZURE = {
    "openai_api_type": "azuread",
    "openai_api_base": "https://one.example.com",
    "openai_api_version": "2024-10-21",
    "openai_deployment_name": "d",
    "microsoft_entra_tenant_id": "tenant",
    "microsoft_entra_client_id": "client",
    "microsoft_entra_client_secret": REFERENCE,
}
HEADER = {
    "custom_provider_url": "https://one.example.com/a",
    "api_key_auth": {"key": "X-Key", "value": REFERENCE},
}
OPENAI = {"openai_api_key": REFERENCE, "openai_api_base": "https://one.example.com/v1"}
BEDROCK = {
    "aws_region": "eu-west-1",
    "bedrock_provider": "amazon",
    "aws_access_key_id": REFERENCE,
    "aws_secret_access_key": REFERENCE,
}
VERTEX = {"project_id": "one", "region": "us-central1", "private_key": REFERENCE}
DATABRICKS = {"databricks_workspace_url": "https://one.example.com", "databricks_api_token": REFERENCE}
MOVES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("custom", HEADER, {"custom_provider_url": "https://one.example.com/b"}),
    ("custom", HEADER, {"api_key_auth": {"key": "X-Other", "value": REFERENCE}}),
    ("openai", OPENAI, {"openai_api_base": "https://one.example.com/mirror"}),
    ("openai", OPENAI, {"openai_api_base": "https://two.example.com/v1"}),
    ("openai", AZURE, {"microsoft_entra_tenant_id": "another"}),
    ("openai", AZURE, {"microsoft_entra_client_id": "another"}),
    ("openai", AZURE, {"openai_api_base": "https://one.example.com/other"}),
    ("amazon-bedrock", BEDROCK, {"aws_region": "us-east-1"}),
    ("google-cloud-vertex-ai", VERTEX, {"region": "us-east1"}),
    ("google-cloud-vertex-ai", VERTEX, {"project_id": "two"}),
    ("databricks-model-serving", DATABRICKS, {"databricks_workspace_url": "https://one.example.com/w"}),
]
moves = pytest.mark.parametrize(
    ("provider", "block", "move"),
    MOVES,
    ids=[f"{at}-{each[0]}-{next(iter(each[2]))}" for at, each in enumerate(MOVES)],
)


@pytest.fixture(autouse=True)
def prod(owner: User, teammate: User) -> None:
    """A scope of the owner that the teammate may not read."""
    vault.create_scope(name="prod", actor=owner, now=clock.now())
    vault.put_secret(scope="prod", key="key", value="v", actor=owner, now=clock.now())


def body(provider: str, block: dict[str, Any], name: str = "m") -> dict[str, Any]:
    key = f"{provider.replace('-', '_')}_config"
    key = "custom_provider_config" if provider == "custom" else key
    model = {"provider": provider, "name": name, "task": "llm/v1/chat", key: block}
    return {"served_entities": [{"name": "entity", "external_model": model}]}


def pasted(part: Any) -> Any:
    """The same config with each secret pasted."""
    if not isinstance(part, dict):
        return part
    return {
        name + "_plaintext" if value == REFERENCE else name: "pasted-v"
        if value == REFERENCE
        else pasted(value)
        for name, value in part.items()
    }


def made(owner: User, teammate: User, config: dict[str, Any]) -> ConfigSpec:
    """The config of an endpoint of the owner that the teammate manages, after the update has ended."""
    now = clock.now()
    commands.create_endpoint(spec=parse_endpoint({"name": "e", "config": config}), actor=owner, now=now)
    grant(name="e", to=teammate.email, level=Level.CAN_MANAGE, actor=owner, now=now)
    commands.cancel_update(name="e", actor=owner, now=now)
    version = Endpoint.objects.get(name="e").latest
    assert version
    return version.config


def update_problem(actor: User, config: ConfigSpec) -> list[Problem]:
    """Try an update; returns the problem, or an empty value if it was accepted and has ended."""
    try:
        commands.edit_endpoint(name="e", changes=EndpointChanges(config=config), actor=actor, now=clock.now())
    except SpecErrors as errors:
        return errors.problems
    commands.cancel_update(name="e", actor=actor, now=clock.now())
    return []


@moves
def test_a_manager_without_read_right_cannot_send_a_reference_elsewhere(
    owner: User, teammate: User, provider: str, block: dict[str, Any], move: dict[str, Any]
):
    made(owner, teammate, body(provider, block))
    assert update_problem(teammate, parse_config(body(provider, block, "another-model"))) == []
    moved = parse_config(body(provider, {**block, **move}))
    problems = update_problem(teammate, moved)
    assert {problem.path for problem in problems} == moved.secrets().keys()
    assert update_problem(owner, moved) == []


@moves
def test_a_pasted_secret_must_be_pasted_again_for_another_destination(
    owner: User, teammate: User, provider: str, block: dict[str, Any], move: dict[str, Any]
):
    secrets = made(owner, teammate, body(provider, pasted(block))).secrets()
    another_model = parse_config(body(provider, pasted(block), "another-model"))
    assert update_problem(teammate, another_model.with_secrets(secrets)) == []
    moved = parse_config(body(provider, pasted({**block, **move})))
    for actor in (owner, teammate):
        problems = update_problem(actor, moved.with_secrets(secrets))
        assert [problem.code for problem in problems] == ["secret_bound"] * len(secrets)
    assert update_problem(teammate, moved) == []
