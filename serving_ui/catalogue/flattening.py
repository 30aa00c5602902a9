"""A config as one flat list of fields, the way a form has it, and back to the nested shape of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from serving_ui.catalogue import visibility
from serving_ui.catalogue.fields import ConfigField, Declaration, Selector
from serving_ui.catalogue.secret import Secret

JOINED = "__"


def flat_fields(
    declarations: Mapping[str, Declaration], selectors: tuple[Selector, ...]
) -> tuple[ConfigField, ...]:
    """Every field, with each selector before the first field that depends on it."""
    waiting = {selector.name: selector for selector in selectors}
    fields: list[ConfigField] = []
    for field in _each(declarations):
        if field.shown_when is not None and field.shown_when[0] in waiting:
            fields.append(waiting.pop(field.shown_when[0]).as_field())
        fields.append(field)
    return tuple(fields)


def _each(declarations: Mapping[str, Declaration]) -> Iterator[ConfigField]:
    for name, declaration in declarations.items():
        if declaration.group is None:
            yield _field(name, declaration)
        else:
            for inner in declaration.group.fields():
                yield _inside(name, declaration, inner)


def _field(name: str, declaration: Declaration) -> ConfigField:
    return ConfigField(
        name=name,
        path=(name,),
        label=declaration.label,
        help=declaration.help,
        kind=declaration.kind,
        required=declaration.required,
        required_when=declaration.required_when,
        default=declaration.default,
        choices=declaration.choices,
        placeholder=declaration.placeholder,
        multiline=declaration.multiline,
        pattern=declaration.pattern,
        max_length=declaration.max_length,
        shown_when=declaration.shown_when,
        decides_destination=declaration.decides_destination,
    )


def _inside(name: str, declaration: Declaration, inner: ConfigField) -> ConfigField:
    if inner.shown_when is not None or inner.required_when is not None:
        raise TypeError(f"{name}.{inner.name}: a field of a nested block cannot depend on another one.")
    path = (name, *inner.path)
    return replace(inner, name=JOINED.join(path), path=path, shown_when=declaration.shown_when)


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
    virtual = {field.name for field in fields if field.virtual}
    block: dict[str, Any] = {}
    for field in shown(fields, {name: value for name, value in values.items() if isinstance(value, str)}):
        value = values.get(field.name)
        if isinstance(value, str):
            value = value.strip()
        meant = field.required and field.shown_when is not None and field.shown_when[0] in virtual
        if field.path and (value or meant):
            _put(block, field.path, value or "")
    return block


def _put(block: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        block = block.setdefault(name, {})
    block[path[-1]] = value


def flat(
    fields: tuple[ConfigField, ...], selectors: tuple[Selector, ...], given: Mapping[str, str | Secret]
) -> dict[str, str | Secret]:
    """Answers by flat name, with the form-only choices that they imply."""
    conditions_given = [field.shown_when for field in fields if field.name in given]
    chosen = {
        each.name: visibility.implied_choice(each, conditions_given) or each.default for each in selectors
    }
    everything = {**given, **chosen}
    return {field.name: everything[field.name] for field in fields if field.name in everything}
