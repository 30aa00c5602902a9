"""Converts a config between the flat fields of a form and the nested format of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from serving_ui.catalogue import visibility
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.secret import Secret

JOINED = "__"


def flat_fields(
    by_name: Mapping[str, ConfigField], form_choices: tuple[ConfigField, ...]
) -> tuple[ConfigField, ...]:
    """Every field, with each form-only choice before the first field that depends on it."""
    pending = {choice.name: choice for choice in form_choices}
    fields: list[ConfigField] = []
    for field in _all_fields(by_name):
        if field.shown_when is not None and field.shown_when[0] in pending:
            fields.append(pending.pop(field.shown_when[0]))
        fields.append(field)
    return tuple(fields)


def _all_fields(by_name: Mapping[str, ConfigField]) -> Iterator[ConfigField]:
    for field in by_name.values():
        if field.group is None:
            yield field
        else:
            for inner in field.group.fields():
                yield _nested_field(field, inner)


def _nested_field(outer: ConfigField, inner: ConfigField) -> ConfigField:
    if inner.shown_when is not None or inner.required_when is not None:
        raise TypeError(f"{outer.name}.{inner.name}: a field of a nested block cannot depend on another one.")
    path = (*outer.path, *inner.path)
    return replace(inner, name=JOINED.join(path), path=path, shown_when=outer.shown_when)


def shown(fields: tuple[ConfigField, ...], values: Mapping[str, str]) -> list[ConfigField]:
    """The fields to show for these values, with `required` set according to them."""
    choices = _choice_values(fields, values)
    return [
        replace(field, required=visibility.is_required(field.required, field.required_when, choices))
        for field in fields
        if visibility.is_met(field.shown_when, choices)
    ]


def _choice_values(fields: tuple[ConfigField, ...], values: Mapping[str, Any]) -> dict[str, str]:
    """The value of each choice. A value that is not among the choices, as left over from another provider, counts as missing."""
    choices: dict[str, str] = {}
    for field in fields:
        if field.kind == "choice":
            known = [value for value, _label in field.choices]
            value = values.get(field.name)
            answer = value if value in known else field.default
            if answer is not None:
                choices[field.name] = answer
    return choices


def nested(fields: tuple[ConfigField, ...], values: Mapping[str, object]) -> dict[str, Any]:
    """The values in the nested format of the API.

    A required field that is shown by a form-only choice is included even if it is empty, as "": the API infers the choice from it, and
    so reports the missing value at this field.
    """
    form_only = {field.name for field in fields if field.is_form_only}
    block: dict[str, Any] = {}
    for field in shown(fields, {name: value for name, value in values.items() if isinstance(value, str)}):
        value = values.get(field.name)
        if isinstance(value, str):
            value = value.strip()
        implies_choice = field.required and field.shown_when is not None and field.shown_when[0] in form_only
        if field.path and (value or implies_choice):
            _put(block, field.path, value or "")
    return block


def _put(block: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        block = block.setdefault(name, {})
    block[path[-1]] = value


def flat(
    fields: tuple[ConfigField, ...], form_choices: tuple[ConfigField, ...], values: Mapping[str, str | Secret]
) -> dict[str, str | Secret]:
    """The values by flat name, with those of the form-only choices, which are inferred from the others."""
    flat_values = dict(values)
    conditions = [field.shown_when for field in fields if field.name in values]
    for choice in form_choices:
        flat_values[choice.name] = visibility.implied_choice(choice, conditions) or choice.choices[0][0]
    return {field.name: flat_values[field.name] for field in fields if field.name in flat_values}
