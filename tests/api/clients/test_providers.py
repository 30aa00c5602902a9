"""Every provider in every variant of its config, sent and read with the classes of the Databricks SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    ExternalModel,
    ExternalModelProvider,
    ServedEntityInput,
)

from tests.api.clients.bodies import CHAT
from tests.catalogue.samples import VARIANTS, Variant
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

KNOWN = {each.value for each in ExternalModelProvider}
THEIRS = [variant for variant in VARIANTS if variant.provider.name in KNOWN]


def block(variant: Variant, secret: str, provider: SandboxServer) -> dict[str, Any]:
    """The variant's config with all fields, an existing secret, and the address of the sandbox."""
    text = json.dumps(variant.full()).replace("{{secrets/team/key}}", secret)
    for vendor in ("https://models.example.com", "https://my-workspace.cloud.databricks.com"):
        text = text.replace(vendor, provider.url)
    fields: dict[str, Any] = json.loads(text.replace("https://api.cohere.com", provider.url))
    return fields


@pytest.mark.parametrize("variant", THEIRS, ids=str)
def test_an_external_model_reads_back_as_it_was_sent(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str, variant: Variant
):
    tasks = [each.value for each in variant.provider.models]
    model = {
        "provider": variant.provider.name,
        "name": "a-model",
        "task": CHAT if CHAT in tasks else tasks[0],
    }
    external_model = ExternalModel.from_dict(
        {**model, variant.provider.config_key: block(variant, secret, provider)}
    )
    core = EndpointCoreConfigInput(
        name="", served_entities=[ServedEntityInput(external_model=external_model)]
    )
    workspace.serving_endpoints.create(name, config=core)
    made = workspace.serving_endpoints.get(name)
    assert made.config is not None
    [entity] = made.config.served_entities or []
    assert entity.external_model == external_model
    assert entity.name == "a-model"
    [listed] = [each for each in workspace.serving_endpoints.list() if each.name == name]
    assert listed.config is not None
    assert [each.external_model for each in listed.config.served_entities or []] == [external_model]
    workspace.serving_endpoints.delete(name)


def test_every_provider_of_the_sdk_is_supported():
    assert {variant.provider.name for variant in THEIRS} == KNOWN
