"""Differences of two configs, named by the labels of the form."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue import registry
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec, differences, parse_config
from serving_ui.catalogue.tasks import Task
from tests.catalogue.samples import REFERENCE, config_body, external_model


def config(provider: str = "openai", **block: Any) -> ConfigSpec:
    """A config of a provider. `task` and `name` are the model's, the rest is the provider's config."""
    task, name = block.pop("task", Task.CHAT), block.pop("name", "m")
    if provider == "openai" and not block:
        block = {"openai_api_key": REFERENCE}
    model = external_model(registry.get(provider), task, block) | {"name": name}
    return parse_config(config_body(model))


OPENAI = config()


@pytest.mark.parametrize(
    ("new", "labels"),
    [
        (config(), []),
        (config(openai_api_type="openai", openai_api_key=REFERENCE), []),
        (config(name="other"), ["External model name", "Served entity name"]),
        (config(task=Task.EMBEDDINGS), ["Task"]),
        (config(openai_api_key=REFERENCE, openai_api_base="https://host/v1"), ["OpenAI API base"]),
        (config(openai_api_key="{{secrets/team/other}}"), ["OpenAI API key"]),
        (config(openai_api_key_plaintext="sk-1"), ["OpenAI API key"]),
        (config("anthropic", anthropic_api_key=REFERENCE), ["Provider"]),
        (config("custom", custom_provider_url="http://host"), ["Provider"]),
    ],
    ids=["same", "default", "model", "task", "base", "reference", "plaintext", "provider", "custom"],
)
def test_differences_are_named_by_the_labels_of_the_form(new: ConfigSpec, labels: list[str]) -> None:
    assert differences(OPENAI, new) == labels


def test_a_form_only_choice_is_a_difference() -> None:
    old = config("custom", custom_provider_url="http://host")
    new = config("custom", custom_provider_url="http://host", bearer_token_auth={"token": REFERENCE})
    assert differences(old, new) == ["Authentication", "Bearer token"]


def test_an_unchanged_stored_secret_is_not_a_difference() -> None:
    (path,) = OPENAI.secrets()
    configs = [OPENAI.with_secrets({path: Secret.from_stored(stored)}) for stored in ("a", "a", "b")]
    assert differences(configs[0], configs[1]) == []
    assert differences(configs[0], configs[2]) == ["OpenAI API key"]


def test_the_number_of_entities_and_their_traffic_are_differences() -> None:
    model = external_model(registry.get("openai"), Task.CHAT, {"openai_api_key": REFERENCE})
    two = [model | {"name": name} for name in ("m", "n")]

    def with_traffic(m: int, n: int) -> ConfigSpec:
        shares = {"m": m, "n": n}
        routes = [{"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()]
        return parse_config(config_body(*two, traffic_config={"routes": routes}), several=True)

    assert differences(OPENAI, with_traffic(50, 50)) == ["Served entities", "Traffic"]
    assert differences(with_traffic(60, 40), with_traffic(50, 50)) == ["Traffic"]
