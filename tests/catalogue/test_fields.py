"""Declared fields: visibility, valid values, and conversion between flat and nested configs."""

from __future__ import annotations

import pytest

from serving_ui.catalogue import registry
from serving_ui.catalogue.block_parser import parse
from serving_ui.catalogue.fields import ConfigField, block, text, url
from serving_ui.catalogue.provider_config import Block, ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from tests.catalogue.samples import REFERENCE

OPENAI = registry.get("openai").config
BEDROCK = registry.get("amazon-bedrock").config
CUSTOM = registry.get("custom").config


def shown(config: type[ProviderConfig], **answers: str) -> dict[str, bool]:
    return {field.name: field.required for field in config.shown(answers)}


def test_fields_of_openai_depend_on_the_api_type() -> None:
    assert (
        shown(OPENAI)
        == shown(OPENAI, openai_api_type="openai")
        == {
            "openai_api_type": False,
            "openai_api_key": True,
            "openai_api_base": False,
            "openai_organization": False,
        }
    )
    assert list(shown(OPENAI, openai_api_type="azuread")) == [
        "openai_api_type",
        "microsoft_entra_tenant_id",
        "microsoft_entra_client_id",
        "microsoft_entra_client_secret",
        "openai_api_base",
        "openai_deployment_name",
        "openai_api_version",
    ]
    assert shown(OPENAI, openai_api_type="azure")["openai_api_base"] is True


def test_a_value_of_another_provider_is_ignored() -> None:
    assert shown(OPENAI, openai_api_type="nonsense") == shown(OPENAI)
    assert shown(BEDROCK, credentials="nonsense") == shown(BEDROCK)


def test_a_form_only_choice_precedes_its_dependent_fields() -> None:
    names = [field.name for field in BEDROCK.fields()]
    assert names.index("credentials") == names.index("aws_access_key_id") - 1
    (credentials,) = [field for field in BEDROCK.fields() if field.is_form_only]
    assert (credentials.name, credentials.path, credentials.default) == ("credentials", (), "access_keys")


def test_nested_fields_are_flat_in_the_form() -> None:
    (token,) = [field for field in CUSTOM.fields() if field.name == "bearer_token_auth__token"]
    assert token.path == ("bearer_token_auth", "token")
    assert token.shown_when == ("authentication", frozenset({"bearer_token"}))
    secret = Secret.from_plaintext("x")
    assert CUSTOM.nested(
        {
            "custom_provider_url": " http://host/v1 ",
            "authentication": "bearer_token",
            "bearer_token_auth__token": secret,
            "api_key_auth__key": "left over",
        }
    ) == {"custom_provider_url": "http://host/v1", "bearer_token_auth": {"token": secret}}


def test_a_missing_choice_is_not_replaced_by_another() -> None:
    with pytest.raises(ValueError, match="Bearer token is missing"):
        CUSTOM.model_validate(
            CUSTOM.nested({"custom_provider_url": "http://host/v1", "authentication": "bearer_token"})
        )
    with pytest.raises(ValueError, match="Instance profile ARN is missing"):
        BEDROCK.model_validate(
            BEDROCK.nested(
                {"aws_region": "us-east-1", "bedrock_provider": "amazon", "credentials": "instance_profile"}
            )
        )


def test_the_bedrock_provider_may_be_in_capitals() -> None:
    keys = {"aws_access_key_id": REFERENCE, "aws_secret_access_key": REFERENCE}
    config = BEDROCK.model_validate({"aws_region": "us-east-1", "bedrock_provider": "AI21Labs"} | keys)
    assert config.flat()["bedrock_provider"] == "ai21labs"
    with pytest.raises(ValueError, match="must be one of: anthropic, cohere"):
        BEDROCK.model_validate({"aws_region": "us-east-1", "bedrock_provider": "meta"} | keys)


def test_suggestions_depend_on_the_values() -> None:
    openai, bedrock = registry.get("openai"), registry.get("amazon-bedrock")
    assert "gpt-3.5-turbo" in openai.suggestions(Task.CHAT, {})
    assert "gpt-35-turbo" in openai.suggestions(Task.CHAT, {"openai_api_type": "azuread"})
    assert bedrock.suggestions(Task.EMBEDDINGS, {"bedrock_provider": "anthropic"}) == ()
    assert "nova-lite-v1:0" in bedrock.suggestions(Task.CHAT, {"bedrock_provider": "amazon"})
    assert set(bedrock.suggestions(Task.CHAT, {})) == set(bedrock.models[Task.CHAT])


@pytest.mark.parametrize(
    "address",
    [
        "https://host",
        "http://localhost:11434/v1",
        "http://[::1]:8000/v1/",
        "HTTPS://Host/v1",
        "http://10.0.0.1",
    ],
)
def test_addresses_that_are_accepted(address: str) -> None:
    assert ConfigField(label=_("Base"), kind="url").problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "host",
        "ftp://host",
        "https://",
        "https:///v1",
        "javascript:alert(1)",
        "http://a b",
        "http://host:99999",
        "https://u:p@host",
        "https://host?x=1",
        "https://host#x",
        "http://[::1",
        "http://ho\\st",
        "http://host\r\nX: y",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    message = ConfigField(label=_("Base"), kind="url").problem(address)
    assert message is not None
    assert message.startswith("Base ")


def test_only_a_pasted_service_account_key_may_have_several_lines() -> None:
    key = '{\n  "type": "service_account",\n  "name": "サービス"\n}'
    vertex = registry.get("google-cloud-vertex-ai").config
    block = {"project_id": "p", "region": "us-central1", "private_key_plaintext": key}
    (secret,) = vertex.model_validate(block).secrets().values()
    assert secret.reveal() == key
    for wrong in ("two\nlines", "sk-“smart”"):
        with pytest.raises(ValueError, match="Copy it again"):
            OPENAI.model_validate({"openai_api_key_plaintext": wrong})


def test_a_reference_given_as_plaintext_is_pointed_out() -> None:
    with pytest.raises(ValueError, match="Give the reference as openai_api_key"):
        OPENAI.model_validate({"openai_api_key_plaintext": REFERENCE})


def test_an_empty_plaintext_field_beside_a_reference_is_accepted() -> None:
    block = {"openai_api_key": REFERENCE, "openai_api_key_plaintext": "  "}
    (secret,) = OPENAI.model_validate(block).secrets().values()
    assert secret.kind == "reference"


def test_json_schemas_contain_labels_of_the_fields() -> None:
    properties = OPENAI.model_json_schema()["properties"]
    assert properties["openai_api_base"]["title"] == "OpenAI API base"
    assert "description" in properties["openai_api_base"]


def test_a_nested_field_cannot_depend_on_another() -> None:
    class Inner(Block):
        a: str = text(_("A"), shown_when={"b": ("c",)})

    class Outer(ProviderConfig):
        inner: Inner | None = block(Inner, _("Inner"))

    with pytest.raises(TypeError, match=r"inner\.a"):
        Outer.fields()


def test_a_config_that_is_not_an_object_is_a_problem() -> None:
    assert [problem.path for problem in parse({}, 5, trusted=False).problems] == [()]


def test_url_and_text_fields_are_declared_the_same_way() -> None:
    class Config(ProviderConfig):
        a: str = url(_("A"))
        b: str | None = text(_("B"), required=False, max_length=3)

    assert [(field.name, field.kind, field.required) for field in Config.fields()] == [
        ("a", "url", True),
        ("b", "text", False),
    ]
    with pytest.raises(ValueError, match="B can have at most 3 characters"):
        Config.model_validate({"a": "https://host", "b": "four"})
