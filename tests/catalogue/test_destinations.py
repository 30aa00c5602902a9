"""The destination of a secret: all addresses, and all fields that decide where and how it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue import registry
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import Block, ProviderConfig
from serving_ui.catalogue.spec import ConfigSpec, destinations
from serving_ui.catalogue.upstream import Addresses
from tests.catalogue.samples import REFERENCE, VARIANTS, Variant
from tests.catalogue.test_changes import OPENAI, config

DECISIVE = {
    "openai": {
        "openai_api_type",
        "openai_api_base",
        "microsoft_entra_tenant_id",
        "microsoft_entra_client_id",
    },
    "cohere": {"cohere_api_base"},
    "amazon-bedrock": {"credentials", "aws_region", "instance_profile_arn", "uc_service_credential_name"},
    "google-cloud-vertex-ai": {"project_id", "region"},
    "databricks-model-serving": {"databricks_workspace_url"},
    "custom": {"authentication", "custom_provider_url", "api_key_auth__key"},
}
HARMLESS = {
    # The operation on the same resource, and the account that is billed.
    "openai": {"openai_deployment_name", "openai_api_version", "openai_organization"},
    "amazon-bedrock": {"bedrock_provider"},  # a part of the model's name
}
every_provider = pytest.mark.parametrize("provider", registry.PROVIDERS.values(), ids=lambda each: each.name)


@every_provider
def test_each_field_is_listed_as_part_of_the_destination_or_not(provider: Provider) -> None:
    """A new field fails this test until it is listed; until then it counts as part of the destination."""
    found = {
        field.name: field.decides_destination for field in provider.config.fields() if field.kind != "secret"
    }
    decisive, harmless = DECISIVE.get(provider.name, set()), HARMLESS.get(provider.name, set())
    assert found == {**dict.fromkeys(decisive, True), **dict.fromkeys(harmless, False)}


def changed(block: Block, path: tuple[str, ...], value: str) -> Any:
    """The config with another value at a path, whether valid or not."""
    name, *inner = path
    now = changed(getattr(block, name), tuple(inner), value) if inner else value
    return block.model_copy(update={name: now})


CASES = [
    (variant, field) for variant in VARIANTS for field in variant.shown() if field.kind in ("text", "url")
]


@pytest.mark.parametrize(
    ("variant", "field"), CASES, ids=[f"{variant}-{field.name}" for variant, field in CASES]
)
def test_another_value_of_a_listed_field_is_another_destination(variant: Variant, field: ConfigField) -> None:
    def goes_to(config: ProviderConfig) -> frozenset[str]:
        return variant.provider.destinations(config, Addresses())

    before = variant.config.model_validate(variant.full())
    value = str(before.flat()[field.name])
    other = value + ("/other" if field.kind == "url" else "x")
    assert (goes_to(changed(before, field.path, other)) != goes_to(before)) == field.decides_destination


@every_provider
def test_variants_whose_secrets_share_a_field_have_different_destinations(provider: Provider) -> None:
    """For example the same field holds a key of OpenAI or of Azure, depending on the API type."""
    ways = [each.config.model_validate(each.full()) for each in VARIANTS if each.provider is provider]
    sharing = [
        (one, other)
        for one in ways
        for other in ways
        if one is not other and one.secrets().keys() & other.secrets().keys()
    ]
    for one, other in sharing:
        assert provider.destinations(one, Addresses()) != provider.destinations(other, Addresses())


AZURE = {
    "openai_api_base": "https://my.openai.azure.com/",
    "openai_api_version": "2024-10-21",
    "openai_deployment_name": "d",
}
ENTRA = {
    "microsoft_entra_tenant_id": "t",
    "microsoft_entra_client_id": "c",
    "microsoft_entra_client_secret": REFERENCE,
}
BEDROCK = {
    "aws_region": "eu-west-1",
    "bedrock_provider": "amazon",
    "aws_access_key_id": REFERENCE,
    "aws_secret_access_key": REFERENCE,
}
VERTEX = {"project_id": "p", "region": "us-central1", "private_key": REFERENCE}


OPENAI_TYPE = "openai_api_type=openai"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (OPENAI, {"https://api.openai.com:443/v1", OPENAI_TYPE}),
        (
            config(openai_api_key=REFERENCE, openai_api_base="http://HOST:8000/v1/"),
            {"http://host:8000/v1", OPENAI_TYPE},
        ),
        (
            config(openai_api_key=REFERENCE, openai_api_base="http://[::1]/v1"),
            {"http://[::1]:80/v1", OPENAI_TYPE},
        ),
        (
            config(openai_api_type="azure", openai_api_key=REFERENCE, **AZURE),
            {"https://my.openai.azure.com:443", "openai_api_type=azure"},
        ),
        (
            config(openai_api_type="azuread", **AZURE, **ENTRA),
            {
                "https://my.openai.azure.com:443",
                "https://login.microsoftonline.com:443/t/oauth2/v2.0/token",
                "openai_api_type=azuread",
                "microsoft_entra_tenant_id=t",
                "microsoft_entra_client_id=c",
            },
        ),
        (
            config("amazon-bedrock", **BEDROCK),
            {
                "https://bedrock-runtime.eu-west-1.amazonaws.com:443",
                "https://sts.eu-west-1.amazonaws.com:443",
                "credentials=access_keys",
                "aws_region=eu-west-1",
            },
        ),
        (
            config("google-cloud-vertex-ai", **VERTEX),
            {
                "https://us-central1-aiplatform.googleapis.com:443",
                "https://oauth2.googleapis.com:443/token",
                "project_id=p",
                "region=us-central1",
            },
        ),
        (config("cohere", cohere_api_key=REFERENCE), {"https://api.cohere.com:443"}),
        (
            config(
                "custom",
                custom_provider_url="https://h/v1/chat/completions",
                api_key_auth={"key": "X-Key", "value": REFERENCE},
            ),
            {"https://h:443/v1", "authentication=api_key", "api_key_auth__key=X-Key"},
        ),
    ],
    ids=["openai", "base", "ipv6", "azure", "azuread", "bedrock", "vertex", "cohere", "custom"],
)
def test_the_destinations_of_each_provider(spec: ConfigSpec, expected: set[str]) -> None:
    assert destinations(spec.served_entities[0], Addresses()) == expected


def test_replaced_default_addresses_are_destinations_and_configured_ones_are_not_replaced() -> None:
    addresses = Addresses({"openai": "http://127.0.0.1:9000", "microsoft-entra": "http://127.0.0.1:9001"})
    assert destinations(OPENAI.served_entities[0], addresses) == {"http://127.0.0.1:9000/v1", OPENAI_TYPE}
    azure = config(openai_api_type="azuread", **AZURE, **ENTRA).served_entities[0]
    assert {each for each in destinations(azure, addresses) if "://" in each} == {
        "https://my.openai.azure.com:443",
        "http://127.0.0.1:9001/t/oauth2/v2.0/token",
    }
