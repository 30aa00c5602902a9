"""The schema of an external model, from what the providers' files declare: a new provider needs no line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.fields import Condition, ConfigField
from serving_ui.catalogue.names import MAX_MODEL_NAME_LENGTH
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import Block
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task

Schema = dict[str, Any]
REFERENCE = r"^\s*\{\{secrets/[^/{}\s]+/[^/{}\s]+\}\}\s*$"


def external_model() -> Schema:
    """An external model as it is given: one alternative for each provider."""
    return {
        "description": "A model that a provider hosts. The block of fields is that of the provider, and no other.",
        "oneOf": [_alternative(provider) for provider in PROVIDERS.values()],
    }


def shown_model() -> Schema:
    """An external model as it is answered: references as they were given, nothing of any other secret."""
    return {
        "type": "object",
        "description": "As it was given, without the secrets that were given themselves.",
        "required": ["provider", "name", "task"],
        "properties": {
            "provider": {"type": "string", "enum": list(PROVIDERS)},
            "name": {"type": "string"},
            "task": {"type": "string", "enum": [task.value for task in Task]},
            **{provider.config_key: _shown(provider) for provider in PROVIDERS.values()},
        },
    }


def _alternative(provider: Provider) -> Schema:
    needs_block = any(field.required for field in provider.config.fields_by_name().values())
    return {
        "title": str(provider.label),
        "type": "object",
        "required": ["provider", "name", "task", *([provider.config_key] if needs_block else [])],
        "properties": {
            "provider": {"type": "string", "const": provider.name},
            "name": {
                "type": "string",
                "description": "The provider's name of the model.",
                "minLength": 1,
                "maxLength": MAX_MODEL_NAME_LENGTH,
                "pattern": r"^\S+$",
            },
            "task": {"type": "string", "enum": [task.value for task in provider.tasks]},
            provider.config_key: block(provider.config),
        },
    }


def block(config: type[Block]) -> Schema:
    """A provider's config block, or a nested part of one. Which fields belong together is in their descriptions."""
    properties: Schema = {}
    for name, field in config.fields_by_name().items():
        properties |= _properties(name, field, config)
    required = [
        name
        for name, field in config.fields_by_name().items()
        if field.required and field.kind != "secret" and field.default is None and field.shown_when is None
    ]
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def _properties(name: str, field: ConfigField, owner: type[Block]) -> Schema:
    if field.group is not None:
        return {name: {**block(field.group), **_description(field, owner)}}
    if field.kind != "secret":
        return {name: {**_description(field, owner), **_value_schema(field)}}
    reference = {"type": "string", "pattern": REFERENCE, "examples": ["{{secrets/my_scope/my_key}}"]}
    plaintext = {"type": "string", "writeOnly": True, "maxLength": field.max_length}
    return {
        name: {
            **_description(
                field, owner, note=f"A secret reference, unless {name}{PLAINTEXT_SUFFIX} is given."
            ),
            **reference,
        },
        name + PLAINTEXT_SUFFIX: {
            **_description(field, owner, note=f"The secret itself, in place of {name}."),
            **plaintext,
        },
    }


def _value_schema(field: ConfigField) -> Schema:
    schema: Schema = {"type": "string", "maxLength": field.max_length}
    if field.kind == "choice":
        schema = {"type": "string", "enum": [value for value, _label in field.choices]}
        if field.default is not None:
            schema["default"] = field.default
    elif field.kind == "url":
        schema["format"] = "uri"
    if field.placeholder:
        schema["examples"] = [field.placeholder]
    return schema


def _description(field: ConfigField, owner: type[Block], *, note: str = "") -> Schema:
    parts = [str(field.label) + ".", note, str(field.help), _condition(field, owner)]
    return {"description": " ".join(part for part in parts if part)}


def _condition(field: ConfigField, owner: type[Block]) -> str:
    sentences = []
    if field.shown_when is not None:
        sentences.append(f"Only {_when(field.shown_when, owner)}.")
    if field.required_when is not None:
        sentences.append(f"Required {_when(field.required_when, owner)}.")
    return " ".join(sentences)


def _when(condition: Condition, owner: type[Block]) -> str:
    name, answers = condition
    for choice in owner.form_choices:
        if choice.name == name:  # a choice of the form, which the API tells from the fields that are given
            chosen = [str(label) for answer, label in choice.choices if answer in answers]
            return f"for {choice.label}: {' or '.join(chosen)}"
    return f"when {name} is {' or '.join(sorted(answers))}"


def _shown(provider: Provider) -> Schema:
    return _without_twins(block(provider.config))


def _without_twins(schema: Mapping[str, Any]) -> Schema:
    properties = {
        name: _without_twins(each) if "properties" in each else each
        for name, each in schema["properties"].items()
        if not each.get("writeOnly")
    }
    return {**{k: v for k, v in schema.items() if k != "required"}, "properties": properties}
