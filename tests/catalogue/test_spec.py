"""Parsing of request bodies: names, served entities, traffic, rate limits, tags, and unknown fields."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue import names, registry
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import (
    ConfigSpec,
    parse_config,
    parse_endpoint,
    parse_field,
)
from serving_ui.catalogue.tasks import Task
from tests.catalogue.samples import REFERENCE, config_body, endpoint_body, external_model

OPENAI = registry.get("openai")
ANTHROPIC = registry.get("anthropic")


def chat(name: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    return external_model(OPENAI, Task.CHAT, {"openai_api_key": REFERENCE}) | {"name": name} | more


def refused(body: object, **options: Any) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(SpecErrors) as error:
        parse_endpoint(body, **options)
    for problem in error.value.problems:
        assert problem.message.endswith(".")
    return {problem.path: problem.message for problem in error.value.problems}


def test_the_smallest_endpoint_has_defaults() -> None:
    spec = parse_endpoint(endpoint_body())
    assert (spec.name, spec.description, spec.rate_limits, spec.tags) == ("an-endpoint", "", [], [])
    assert spec.config and spec.config.kind is Kind.EXTERNAL_MODEL
    assert spec.config.public()["traffic_config"] == {
        "routes": [
            {"served_entity_name": "a-model", "served_model_name": "a-model", "traffic_percentage": 100}
        ]
    }


def test_null_is_the_same_as_a_missing_field() -> None:
    nulls = dict.fromkeys(("description", "rate_limits", "tags", "ai_gateway", "route_optimized"))
    assert parse_endpoint(endpoint_body(**nulls)) == parse_endpoint(endpoint_body())
    assert parse_endpoint(endpoint_body(**nulls)).unknown == []


@pytest.mark.parametrize("name", ["a", "A-1_b", "x" * 63, "databricks", "my-chat", "chat", "Create", "0"])
def test_names_that_are_allowed(name: str) -> None:
    assert parse_endpoint(endpoint_body(name=name)).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 64,
        "a b",
        "a.b",
        "ä",
        "a\n",
        "databricks-x",
        "Databricks-x",
        *sorted(names.RESERVED),
        "a/b",
        "..",
        "ａ",
    ],
)
def test_names_that_are_refused(name: str) -> None:
    assert list(refused(endpoint_body(name=name))) == [("name",)]


def test_a_missing_name_is_reported() -> None:
    assert refused({}) == {("name",): "Name is missing. Give it and try again."}


@pytest.mark.parametrize("config", [{}, {"config": None}, {"config": {}}, {"config": {"name": "x"}}])
def test_an_endpoint_needs_no_config(config: dict[str, object]) -> None:
    assert parse_endpoint({"name": "x", **config}).config is None


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
def test_a_body_that_is_not_an_object_is_refused(body: object) -> None:
    assert refused(body) == {(): "The body must be an object."}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4.1", "gpt-4-1"),
        ("claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022-v2-0"),
        ("ft:gpt-3.5-turbo:my-org::id", "ft-gpt-3-5-turbo-my-org--id"),
        ("meta-llama/Llama-3.1 8B".replace(" ", "-"), "meta-llama-Llama-3-1-8B"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude", None),
    ],
)
def test_a_served_entity_is_named_after_its_model(model: str, name: str | None) -> None:
    config = parse_config(config_body(chat(model)))
    assert config.served_entities[0].name == (name or names.default_entity_name(model))
    assert len(config.served_entities[0].name) <= names.MAX_NAME_LENGTH
    assert names.entity_name_problem(config.served_entities[0].name) is None


def test_a_served_entity_can_have_its_own_name() -> None:
    body = {"served_entities": [{"name": "mine", "external_model": chat()}]}
    assert parse_config(body).public()["traffic_config"]["routes"][0]["served_entity_name"] == "mine"
    body["served_entities"][0]["name"] = "my.name"
    assert ("config", "served_entities", 0, "name") in refused(endpoint_body(config=body))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"provider": "nobody"}, ("provider",)),
        ({"provider": None}, ("provider",)),
        ({"provider": 5}, ("provider",)),
        ({"task": "llm/v1/images"}, ("task",)),
        ({"task": None}, ("task",)),
        ({"name": ""}, ("name",)),
        ({"name": "a b"}, ("name",)),
        ({"name": "x" * 257}, ("name",)),
        ({"name": ["x"]}, ("name",)),
        ({"openai_config": None}, ("openai_config",)),
        ({"openai_config": []}, ("openai_config",)),
        ({"anthropic_config": {"anthropic_api_key": REFERENCE}}, ("anthropic_config",)),
    ],
)
def test_problems_of_an_external_model(change: dict[str, Any], path: tuple[str, ...]) -> None:
    model = chat() | change
    assert list(refused(endpoint_body(config=config_body(model)))) == [
        ("config", "served_entities", 0, "external_model", *path)
    ]


def test_an_unsupported_task_is_refused_with_the_supported_ones() -> None:
    model = external_model(ANTHROPIC, Task.EMBEDDINGS, {"anthropic_api_key": REFERENCE})
    (message,) = refused(endpoint_body(config=config_body(model))).values()
    assert "llm/v1/chat, llm/v1/completions" in message


def test_a_provider_without_fields_needs_no_config() -> None:
    model = {"provider": "sandbox", "name": "sandbox-chat", "task": "llm/v1/chat"}
    assert parse_config(config_body(model)).task == Task.CHAT


@pytest.mark.parametrize(
    "field", ["entity_name", "workload_size", "scale_to_zero_enabled", "environment_vars"]
)
def test_settings_of_own_models_are_refused_with_an_external_model(field: str) -> None:
    body = {"served_entities": [{"external_model": chat(), field: "x"}]}
    assert list(refused(endpoint_body(config=body))) == [("config", "served_entities", 0, field)]


def test_an_entity_of_no_kind_is_refused() -> None:
    found = refused(endpoint_body(config={"served_entities": [{"name": "x"}]}))
    assert list(found) == [("config", "served_entities", 0, "external_model")]


def test_an_own_model_needs_a_version() -> None:
    found = refused(endpoint_body(config={"served_entities": [{"entity_name": "main.default.model"}]}))
    assert found == {
        ("config", "served_entities", 0, "entity_version"): "Version is missing. Give it and try again."
    }


def test_external_and_own_models_are_never_mixed() -> None:
    own = {"entity_name": "iris", "entity_version": "1"}
    body = {"served_entities": [{"external_model": chat()}, own]}
    assert list(refused(endpoint_body(config=body))) == [("config", "served_entities", 1)]


def test_exactly_one_external_model_unless_several_are_allowed() -> None:
    body = endpoint_body(config=config_body(chat("a"), chat("b")))
    assert list(refused(body)) == [("config", "served_entities")]
    assert list(refused(endpoint_body(config={"served_entities": []}))) == [("config", "served_entities")]


def routes(**shares: int) -> dict[str, Any]:
    return {
        "routes": [
            {"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()
        ]
    }


def test_several_external_models_have_one_task_and_shares_of_the_traffic() -> None:
    body = config_body(chat("a"), chat("b"), traffic_config=routes(a=70, b=30))
    assert [each.traffic_percentage for each in parse_config(body, several=True).traffic_config.routes] == [
        70,
        30,
    ]
    parse_config(config_body(chat("a"), chat("b"), traffic_config=routes(a=100, b=0)), several=True)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (config_body(chat("a"), chat("b")), ("traffic_config", "routes")),
        (config_body(chat("a"), chat("b"), traffic_config=routes(a=70, b=20)), ("traffic_config", "routes")),
        (config_body(chat("a"), chat("b"), traffic_config=routes(a=100)), ("traffic_config", "routes")),
        (
            config_body(chat("a"), chat("b"), traffic_config=routes(a=50, b=50, c=0)),
            ("traffic_config", "routes", 2, "served_entity_name"),
        ),
        (
            config_body(chat("a"), chat("b", task="llm/v1/completions"), traffic_config=routes(a=50, b=50)),
            ("served_entities", 1, "external_model", "task"),
        ),
    ],
    ids=["no traffic", "not 100", "one without", "unknown", "other task"],
)
def test_problems_of_several_external_models(body: dict[str, Any], path: tuple[str | int, ...]) -> None:
    assert list(refused(endpoint_body(config=body), several=True)) == [("config", *path)]


def test_served_entity_names_are_unique() -> None:
    body = config_body(chat("a"), chat("a"), traffic_config=routes(a=100))
    found = refused(endpoint_body(config=body), several=True)
    assert ("config", "served_entities", 0, "name") in found
    assert ("config", "served_entities", 1, "name") in found


def test_a_single_entity_gets_all_traffic() -> None:
    parse_config(config_body(chat("a"), traffic_config=routes(a=100)))
    found = refused(endpoint_body(config=config_body(chat("a"), traffic_config=routes(a=50))))
    assert found == {
        ("config", "traffic_config", "routes"): "Traffic must add up to 100 percent; it adds up to 50."
    }
    assert refused(endpoint_body(config=config_body(chat("a"), traffic_config=routes(b=100))))


def test_both_names_of_a_route_are_accepted_when_they_agree() -> None:
    for route in ({"served_model_name": "a"}, {"served_model_name": "a", "served_entity_name": "a"}):
        traffic = {"routes": [route | {"traffic_percentage": 100}]}
        parse_config(config_body(chat("a"), traffic_config=traffic))
    traffic = {"routes": [{"served_model_name": "a", "served_entity_name": "b", "traffic_percentage": 100}]}
    found = refused(endpoint_body(config=config_body(chat("a"), traffic_config=traffic)))
    assert list(found) == [("config", "traffic_config", "routes", 0, "served_entity_name")]


@pytest.mark.parametrize("calls", [-1, 1.5, "5", True, None, 10**10])
def test_calls_must_be_a_whole_number(calls: object) -> None:
    assert list(refused(endpoint_body(rate_limits=[{"calls": calls}]))) == [("rate_limits", 0, "calls")]


def test_a_rate_limit_has_a_known_key_and_appears_once() -> None:
    limits = parse_field(
        "rate_limits", [{"calls": 0}, {"calls": 5, "key": "user", "renewal_period": "minute"}]
    )
    assert [(limit.key, limit.calls) for limit in limits] == [("endpoint", 0), ("user", 5)]
    assert list(refused(endpoint_body(rate_limits=[{"calls": 1}, {"calls": 2}]))) == [
        ("rate_limits", 1, "key")
    ]
    for wrong in ({"key": "group"}, {"renewal_period": "hour"}):
        assert len(refused(endpoint_body(rate_limits=[{"calls": 1} | wrong]))) == 1


def test_tags_have_a_key_and_may_have_a_value() -> None:
    tags = parse_field("tags", [{"key": " team "}, {"key": "チーム", "value": "研究　開発"}])
    assert [(tag.key, tag.value) for tag in tags] == [("team", ""), ("チーム", "研究　開発")]


@pytest.mark.parametrize(
    ("tags", "path"),
    [
        ([{"key": ""}], (0, "key")),
        ([{"key": "  "}], (0, "key")),
        ([{"value": "x"}], (0, "key")),
        ([{"key": "x" * 128}], (0, "key")),
        ([{"key": "x", "value": "x" * 256}], (0, "value")),
        ([{"key": "x", "value": "a\x00b"}], (0, "value")),
        ([{"key": "x"}, {"key": " x"}], (1, "key")),
        ([5], (0,)),
        ({"key": "x"}, ()),
    ],
)
def test_tags_that_are_refused(tags: object, path: tuple[str | int, ...]) -> None:
    assert list(refused(endpoint_body(tags=tags))) == [("tags", *path)]
    with pytest.raises(SpecErrors) as error:
        parse_field("tags", tags)
    assert [problem.path for problem in error.value.problems] == [("tags", *path)]


def test_descriptions_may_have_several_lines_but_no_control_characters() -> None:
    assert parse_endpoint(endpoint_body(description="One.\nTwo.")).description == "One.\nTwo."
    for wrong in ("a\x00", "x" * 2001, 5, "\ud800"):
        assert list(refused(endpoint_body(description=wrong))) == [("description",)]


def test_unknown_fields_are_accepted_and_reported() -> None:
    model = chat()
    model["openai_config"]["openai_api_kee"] = "x"
    model["surprise"] = 1
    config = config_body(model, name="the-name-that-clients-always-send", auto_capture_config={})
    config["served_entities"][0]["colour"] = "red"
    spec = parse_endpoint(endpoint_body(config=config, budget_policy_id="x", tags=[{"key": "a", "x": 1}]))
    assert spec.unknown == [
        "budget_policy_id",
        "config.auto_capture_config",
        "config.served_entities[0].colour",
        "config.served_entities[0].external_model.surprise",
        "config.served_entities[0].external_model.openai_config.openai_api_kee",
        "tags[0].x",
    ]
    assert parse_config(config).unknown[0] == "auto_capture_config"
    plain = parse_endpoint(endpoint_body(config=config_body(chat())))
    assert spec.config and plain.config and spec.config.public() == plain.config.public()


def test_unknown_nested_fields_are_reported() -> None:
    block = {
        "custom_provider_url": "http://host/v1",
        "bearer_token_auth": {"token": REFERENCE, "tokens": "x"},
    }
    config = parse_config(config_body(external_model(registry.get("custom"), Task.CHAT, block)))
    assert config.unknown == [
        "served_entities[0].external_model.custom_provider_config.bearer_token_auth.tokens"
    ]


def test_the_id_of_a_stored_secret_is_not_accepted_from_clients() -> None:
    model = chat(openai_config={"openai_api_key_plaintext": {"stored": "someone-elses"}})
    assert len(refused(endpoint_body(config=config_body(model)))) == 1


def test_secrets_can_be_replaced_by_path() -> None:
    config = parse_config(config_body(chat("a"), chat("b"), traffic_config=routes(a=50, b=50)), several=True)
    paths = [("served_entities", n, "external_model", "openai_config", "openai_api_key") for n in (0, 1)]
    assert list(config.secrets()) == paths
    changed = config.with_secrets({paths[1]: Secret.from_stored("id")})
    assert [secret.kind for secret in changed.secrets().values()] == ["reference", "stored"]
    assert ConfigSpec.load(changed.stored()) == changed
    assert config.secrets()[paths[1]].kind == "reference"


def test_stored_configs_are_readable_after_rules_become_stricter() -> None:
    stored = parse_config(config_body(chat())).stored()
    block = stored["served_entities"][0]["external_model"]["openai_config"]
    block |= {"openai_api_version": "not a date", "openai_api_base": "ftp://old"}
    with pytest.raises(SpecErrors):
        parse_config(stored)
    assert ConfigSpec.load(stored).served_entities[0].external.name == "gpt-4o"


def test_an_unreadable_stored_config_raises_on_loading() -> None:
    stored = parse_config(config_body(chat())).stored()
    stored["served_entities"][0]["external_model"]["provider"] = "gone"
    with pytest.raises(SpecErrors, match="no such provider"):
        ConfigSpec.load(stored)
