"""A config as one flat list of fields, the way a form has it, and back to the nested shape of the API."""

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
    waiting = {choice.name: choice for choice in form_choices}
    fields: list[ConfigField] = []
    for field in _each(by_name):
        if field.shown_when is not None and field.shown_when[0] in waiting:
            fields.append(waiting.pop(field.shown_when[0]))
        fields.append(field)
    return tuple(fields)


def _each(by_name: Mapping[str, ConfigField]) -> Iterator[ConfigField]:
    for field in by_name.values():
        if field.group is None:
            yield field
        else:
            for inner in field.group.fields():
                yield _inside(field, inner)


def _inside(outer: ConfigField, inner: ConfigField) -> ConfigField:
    if inner.shown_when is not None or inner.required_when is not None:
        raise TypeError(f"{outer.name}.{inner.name}: a field of a nested block cannot depend on another one.")
    path = (*outer.path, *inner.path)
    return replace(inner, name=JOINED.join(path), path=path, shown_when=outer.shown_when)


def shown(fields: tuple[ConfigField, ...], values: Mapping[str, str]) -> list[ConfigField]:
    """The fields to show, with `required` as it is for these answers."""
    answers = _answers(fields, values)
    return [
        replace(field, required=visibility.is_required(field.required, field.required_when, answers))
        for field in fields
        if visibility.is_met(field.shown_when, answers)
    ]


def _answers(fields: tuple[ConfigField, ...], values: Mapping[str, Any]) -> dict[str, str]:
    """What each choice is answered with; a leftover of another provider counts as no answer."""
    answers: dict[str, str] = {}
    for field in fields:
        if field.kind == "choice":
            known = [value for value, _label in field.choices]
            typed = values.get(field.name)
            answer = typed if typed in known else field.default
            if answer is not None:
                answers[field.name] = answer
    return answers


def nested(fields: tuple[ConfigField, ...], values: Mapping[str, object]) -> dict[str, Any]:
    """The shape of the API.

    A required field that only a form-only choice shows is kept even when empty, as "": otherwise nothing would tell the
    API which of the choices was meant, and the problem would stand beside another field than the one left empty.
    """
    form_only = {field.name for field in fields if field.is_form_only}
    block: dict[str, Any] = {}
    for field in shown(fields, {name: value for name, value in values.items() if isinstance(value, str)}):
        value = values.get(field.name)
        if isinstance(value, str):
            value = value.strip()
        meant = field.required and field.shown_when is not None and field.shown_when[0] in form_only
        if field.path and (value or meant):
            _put(block, field.path, value or "")
    return block


def _put(block: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        block = block.setdefault(name, {})
    block[path[-1]] = value


def flat(
    fields: tuple[ConfigField, ...], form_choices: tuple[ConfigField, ...], given: Mapping[str, str | Secret]
) -> dict[str, str | Secret]:
    """The values by flat name, with those of the form-only choices, which the given fields imply."""
    values = dict(given)
    conditions = [field.shown_when for field in fields if field.name in given]
    for choice in form_choices:
        values[choice.name] = visibility.implied_choice(choice, conditions) or choice.choices[0][0]
    return {field.name: values[field.name] for field in fields if field.name in values}
