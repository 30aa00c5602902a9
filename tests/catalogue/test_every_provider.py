"""Properties of every provider, task and variant of the form, generated from the field declarations."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest

from serving_ui.catalogue import registry
from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.endpoint_config import public_config
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec, parse_config
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import (
    Addresses,
    SecretUnusable,
    UnsupportedRequest,
    UpstreamRequest,
    normalized_url,
)
from tests.catalogue.samples import (
    CANARY,
    VARIANTS,
    Variant,
    config_body,
    drop,
    external_model,
    put,
    resolved,
    sample,
)

REQUESTS: dict[Task | None, dict[str, Any]] = {
    Task.CHAT: {"messages": [{"role": "user", "content": "Say hello."}]},
    Task.COMPLETIONS: {"prompt": "Once"},
    Task.EMBEDDINGS: {"input": "x"},
}
EVERY_WAY = [(variant, task) for variant in VARIANTS for task in variant.provider.tasks]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
every_way = pytest.mark.parametrize(
    ("variant", "task"), EVERY_WAY, ids=[f"{variant}-{task.name.lower()}" for variant, task in EVERY_WAY]
)
every_provider = pytest.mark.parametrize("provider", registry.PROVIDERS.values(), ids=lambda each: each.name)


def parsed(variant: Variant, block: dict[str, Any], task: Task | None = None) -> ConfigSpec:
    task = task or variant.provider.tasks[0]
    return parse_config(config_body(external_model(variant.provider, task, block)))


def problems(variant: Variant, block: dict[str, Any]) -> list[Problem]:
    with pytest.raises(SpecErrors) as refused:
        parsed(variant, block)
    return refused.value.problems


def at(variant: Variant, path: tuple[str, ...]) -> tuple[str | int, ...]:
    return ("served_entities", 0, "external_model", variant.provider.config_key, *path)


def pasted(variant: Variant) -> dict[str, Any]:
    """The minimal block with every secret pasted instead of referred to."""
    block = variant.minimal()
    for field in variant.shown():
        if field.kind == "secret":
            drop(block, field.path)
            put(block, (*field.path[:-1], field.path[-1] + PLAINTEXT_SUFFIX), CANARY)
    return block


@every_way
def test_a_minimal_config_is_unchanged_by_parsing_storage_and_loading(variant: Variant, task: Task) -> None:
    config = parsed(variant, variant.minimal(), task)
    stored = json.loads(json.dumps(config.stored()))
    assert ConfigSpec.load(stored) == config
    assert config.task == task
    assert config.unknown == []


@every_way
def test_the_public_form_of_a_config_is_accepted(variant: Variant, task: Task) -> None:
    config = parsed(variant, variant.full(), task)
    assert parse_config(json.loads(json.dumps(config.public()))) == config


@every_variant
def test_stored_secrets_survive_the_database_and_are_not_shown(variant: Variant) -> None:
    config = parsed(variant, pasted(variant))
    with_ids = config.with_secrets({path: Secret.from_stored("id-1") for path in config.secrets()})
    stored = json.dumps(with_ids.stored())
    assert ConfigSpec.load(json.loads(stored)) == with_ids
    for spelled in (stored, json.dumps(with_ids.public()), json.dumps(config.public())):
        assert CANARY not in spelled
    assert "id-1" not in json.dumps(with_ids.public())


@every_variant
def test_a_stored_config_is_shown_the_same_with_and_without_models(variant: Variant) -> None:
    for block in (variant.full(), pasted(variant)):
        config = parsed(variant, block)
        with_ids = config.with_secrets(
            {
                path: Secret.from_stored("id-1")
                for path, s in config.secrets().items()
                if s.kind == "plaintext"
            }
        )
        assert public_config(json.loads(json.dumps(with_ids.stored()))) == with_ids.public()


@every_variant
def test_a_plaintext_secret_is_refused_by_storage(variant: Variant) -> None:
    config = parsed(variant, pasted(variant))
    if config.secrets():
        with pytest.raises(ValueError, match="cannot be stored"):
            config.stored()


@every_variant
def test_each_missing_required_field_is_one_problem_at_its_path(variant: Variant) -> None:
    for field in variant.required():
        block = variant.minimal()
        drop(block, field.path)
        if variant.implies_a_form_only_choice(field):
            put(block, field.path, "")
        found = problems(variant, block)
        assert [problem.path for problem in found] == [at(variant, field.path)], field.name
        assert field.label in found[0].message
        assert found[0].code == "required"


@every_variant
def test_each_hidden_field_is_refused(variant: Variant) -> None:
    real = {field.name for field in variant.config.fields() if not field.is_form_only}
    for field in variant.hidden():
        block = variant.minimal()
        put(block, field.path, sample(field))
        controlling = field.shown_when[0] if field.shown_when else ""
        siblings = [each for each in variant.shown() if each.shown_when and each.shown_when[0] == controlling]
        if controlling in real:
            assert [problem.path for problem in problems(variant, block)] == [at(variant, field.path)]
        elif siblings:
            # With a form-only choice it is unknown which of the two fields is wrong, so only the refusal is checked.
            assert problems(variant, block)


@every_variant
def test_wrong_types_are_refused_with_the_name_of_the_field(variant: Variant) -> None:
    for field in variant.shown():
        for wrong in (5, True, ["x"], {"a": 1}):
            if field.path:
                block = variant.minimal()
                put(block, field.path, wrong)
                found = problems(variant, block)
                assert at(variant, field.path) in [problem.path for problem in found]
                assert any(field.label in problem.message for problem in found)


@every_variant
def test_a_flat_config_becomes_the_same_config_again(variant: Variant) -> None:
    for block in (variant.minimal(), variant.full(), pasted(variant)):
        config = variant.config.model_validate(block)
        assert variant.config.model_validate(variant.config.nested(config.flat())) == config


@every_variant
def test_values_of_fields_that_became_hidden_are_dropped(variant: Variant) -> None:
    everything = {field.name: sample(field) for field in variant.config.fields()} | variant.answers
    assert variant.config.nested(everything) == variant.full()
    variant.config.model_validate(variant.full())


@every_variant
def test_the_problems_of_an_empty_form_are_at_visible_fields(variant: Variant) -> None:
    block = variant.config.nested(
        dict.fromkeys((field.name for field in variant.config.fields()), "") | variant.answers
    )
    if variant.required():
        found = {problem.path for problem in problems(variant, block)}
        assert found == {at(variant, field.path) for field in variant.required()}


@every_variant
def test_the_text_of_requests_and_checks_contains_no_secret(variant: Variant) -> None:
    config = resolved(variant.config.model_validate(variant.minimal()))
    requests: list[UpstreamRequest | None] = []
    with suppress(SecretUnusable):
        requests.append(variant.provider.check(config, "a-model", variant.provider.tasks[0], Addresses()))
    for task, wire_format in variant.provider.wire_formats.items():
        with suppress(SecretUnusable, UnsupportedRequest):
            requests.append(wire_format.build_request(REQUESTS[task], config, "a-model", Addresses()))
    for request in requests:
        assert CANARY not in repr(request)
        if request is not None:
            assert CANARY not in request.url
            aims = tuple(variant.provider.destinations(config, Addresses()))
            assert normalized_url(request.url).startswith(aims)
            token_url = getattr(request.auth, "token_url", None)
            assert token_url is None or normalized_url(token_url) in aims


@every_provider
def test_every_field_has_a_label_and_examples_that_are_valid(provider: Provider) -> None:
    for field in provider.config.fields():
        assert field.label
        assert not field.help or field.help.endswith(".")
        assert field.kind != "choice" or len(field.choices) > 1
        if field.pattern:
            assert field.placeholder and re.fullmatch(field.pattern, field.placeholder)


@every_provider
def test_names_are_identifiers_and_fields_are_unique(provider: Provider) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", provider.name)
    assert re.fullmatch(r"[a-z0-9_]+_config", provider.config_key)
    assert provider.tasks == tuple(task for task in Task if task in provider.tasks)
    assert set(provider.wire_formats) <= set(provider.tasks)
    names = [field.name for field in provider.config.fields()]
    assert len(names) == len(set(names))


@every_provider
def test_suggestions_exist_only_for_the_tasks_of_the_provider(provider: Provider) -> None:
    for task in Task:
        for answers in ({}, {"openai_api_type": "azure"}, {"bedrock_provider": "cohere"}):
            assert task in provider.tasks or provider.suggestions(task, answers) == ()


API_FIELDS = {
    "openai": """
        openai_api_key openai_api_key_plaintext openai_api_base openai_api_type openai_api_version
        openai_deployment_name openai_organization microsoft_entra_tenant_id microsoft_entra_client_id
        microsoft_entra_client_secret microsoft_entra_client_secret_plaintext""",
    "anthropic": "anthropic_api_key anthropic_api_key_plaintext",
    "cohere": "cohere_api_key cohere_api_key_plaintext cohere_api_base",
    "amazon-bedrock": """
        aws_region bedrock_provider aws_access_key_id aws_access_key_id_plaintext aws_secret_access_key
        aws_secret_access_key_plaintext instance_profile_arn uc_service_credential_name""",
    "google-cloud-vertex-ai": "project_id region private_key private_key_plaintext",
    "databricks-model-serving": "databricks_workspace_url databricks_api_token databricks_api_token_plaintext",
    "ai21labs": "ai21labs_api_key ai21labs_api_key_plaintext",
    "palm": "palm_api_key palm_api_key_plaintext",
    "custom": "custom_provider_url bearer_token_auth api_key_auth",
    "sandbox": "",
}


@pytest.mark.parametrize("name", API_FIELDS)
def test_the_fields_are_exactly_those_of_the_serving_api(name: str) -> None:
    assert set(registry.get(name).config.accepted_fields()) == set(API_FIELDS[name].split())


def test_nested_fields_are_those_of_the_serving_api() -> None:
    groups = registry.get("custom").config.accepted_fields()
    inner = {name: sorted(group.accepted_fields()) for name, group in groups.items() if group is not None}
    assert inner == {
        "bearer_token_auth": ["token", "token_plaintext"],
        "api_key_auth": ["key", "value", "value_plaintext"],
    }


def test_only_palm_and_the_sandbox_are_hidden() -> None:
    assert [name for name, provider in registry.PROVIDERS.items() if provider.hidden] == ["palm", "sandbox"]
    assert [provider.name for provider in registry.offered()][:2] == ["openai", "anthropic"]
