"""Valid configs for every provider, generated from the field declarations, so that new providers are covered too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from serving_ui.catalogue import registry
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task

CANARY = "sk-canary-catalogue-5d21"
REFERENCE = "{{secrets/team/key}}"


@dataclass(frozen=True)
class Variant:
    """One combination of the choices on which other fields of a provider's form depend."""

    provider: Provider
    answers: dict[str, str]

    def __str__(self) -> str:
        return "-".join([self.provider.name, *self.answers.values()])

    @property
    def config(self) -> type[ProviderConfig]:
        return self.provider.config

    def shown(self) -> list[ConfigField]:
        return self.config.shown(self.answers)

    def hidden(self) -> list[ConfigField]:
        shown = {field.name for field in self.shown()}
        return [field for field in self.config.fields() if field.name not in shown]

    def required(self) -> list[ConfigField]:
        return [field for field in self.shown() if field.required and field.path and field.default is None]

    def implies_a_form_only_choice(self, field: ConfigField) -> bool:
        """Whether this field tells the API which choice was made; without it another choice would be assumed."""
        form_only = {each.name for each in self.config.fields() if each.is_form_only}
        return field.shown_when is not None and field.shown_when[0] in form_only

    def minimal(self) -> dict[str, Any]:
        """The smallest valid config of the provider."""
        required = {field.name for field in self.required()}
        flat = {field.name: sample(field) for field in self.shown() if field.name in required}
        return self.config.nested({**flat, **self.answers})

    def full(self) -> dict[str, Any]:
        """A config with all visible fields."""
        flat = {field.name: sample(field) for field in self.shown() if field.path}
        return self.config.nested({**flat, **self.answers})


def sample(field: ConfigField) -> str:
    """A valid value of a field."""
    if field.kind == "secret":
        return REFERENCE
    if field.kind == "choice":
        return field.choices[0][0]
    if field.kind == "url":
        return field.placeholder or "https://models.example.com/v1"
    return field.placeholder or "anything"


def variants(provider: Provider) -> Iterator[Variant]:
    controlling = {
        condition[0]
        for field in provider.config.fields()
        for condition in (field.shown_when, field.required_when)
        if condition is not None
    }
    choices = [field for field in provider.config.fields() if field.name in controlling]
    for answers in product(*([value for value, _label in field.choices] for field in choices)):
        yield Variant(provider, dict(zip((field.name for field in choices), answers, strict=True)))


VARIANTS = [variant for provider in registry.PROVIDERS.values() for variant in variants(provider)]


def external_model(provider: Provider, task: Task, block: dict[str, Any]) -> dict[str, Any]:
    return {"provider": provider.name, "name": "a-model", "task": task.value, provider.config_key: block}


def config_body(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"served_entities": [{"external_model": model} for model in models], **more}


def endpoint_body(**more: Any) -> dict[str, Any]:
    """The body of the smallest endpoint, with changes."""
    block = {"openai_api_key": REFERENCE}
    model = external_model(registry.get("openai"), Task.CHAT, block)
    return {"name": "an-endpoint", "config": config_body(model), **more}


def resolved(config: ProviderConfig, value: str = CANARY) -> ProviderConfig:
    """The config as the gateway has it: all secrets are plaintexts."""
    return config.with_secrets({path: Secret.from_plaintext(value) for path in config.secrets()})


def put(block: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        block = block.setdefault(name, {})
    block[path[-1]] = value


def drop(block: dict[str, Any], path: tuple[str, ...]) -> None:
    for name in path[:-1]:
        block = block[name]
    del block[path[-1]]
