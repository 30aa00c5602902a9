"""Validates one config block of a request against its declared fields: types, values, secrets, and which fields apply.

Collects a Problem with the path of the field for each error instead of raising, so that all errors are reported at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import visibility
from serving_ui.catalogue.fields import Condition, ConfigField
from serving_ui.catalogue.problems import Problem
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.translatable import TranslatableText, _, has_control_characters

PLAINTEXT_SUFFIX = "_plaintext"
Fields = Mapping[str, ConfigField]


@dataclasses.dataclass
class ParsedBlock:
    """The valid values by name, the names of empty fields, and the problems."""

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    empty: set[str] = dataclasses.field(default_factory=set)
    problems: list[Problem] = dataclasses.field(default_factory=list)

    def refuse(self, name: str, message: TranslatableText, code: str = "invalid") -> None:
        self.problems.append(Problem((name,), message, code))

    @property
    def refused(self) -> set[str | int]:
        return {problem.path[0] for problem in self.problems if problem.path}


def parse(fields: Fields, data: object, *, trusted: bool) -> ParsedBlock:
    """Read the declared fields of `data`; `trusted` skips the validation of values."""
    block = ParsedBlock()
    if not isinstance(data, Mapping):
        block.problems.append(Problem((), _("This must be an object with the fields of the provider.")))
        return block
    for name, field in fields.items():
        if field.kind == "secret":
            _parse_secret(block, name, field, data, trusted)
        elif field.group is not None:
            if data.get(name) is not None:
                block.values[name] = data[name]
        else:
            _parse_text(block, name, field, data.get(name), trusted)
    return block


def _parse_text(block: ParsedBlock, name: str, field: ConfigField, value: object, trusted: bool) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        block.refuse(name, _("%(label)s must be text.").fill(label=field.label))
        return
    value = value.strip()
    if not value:
        block.empty.add(name)
        return
    if field.any_case:
        value = value.lower()
    problem = None if trusted else field.problem(value)
    if problem:
        block.refuse(name, problem)
    else:
        block.values[name] = value


def _parse_secret(
    block: ParsedBlock, name: str, field: ConfigField, data: Mapping[Any, Any], trusted: bool
) -> None:
    reference, plaintext = data.get(name), data.get(name + PLAINTEXT_SUFFIX)
    present = [value for value in (reference, plaintext) if not _is_blank(value)]
    if len(present) == 2:
        both = _("Give %(label)s either as a secret reference or as the secret itself, not both.")
        block.refuse(name, both.fill(label=field.label))
    elif not present:
        if reference is not None or plaintext is not None:
            block.empty.add(name)
    else:
        secret = (
            _secret_from_reference(reference)
            if plaintext is None or _is_blank(plaintext)
            else _secret_from_plaintext(plaintext)
        )
        problem = _secret_problem(secret, name, field, trusted)
        if problem:
            block.refuse(name, problem)
        else:
            block.values[name] = secret


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _secret_from_reference(value: object) -> Secret | TranslatableText:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        return _("%(label)s must be text: a secret reference such as {{secrets/scope/key}}.")
    try:
        return Secret.from_reference(value)
    except ValueError:
        return _(
            "%(label)s must be a secret reference such as {{secrets/scope/key}}. "
            "The secret itself can be given as %(twin)s instead."
        )


def _secret_from_plaintext(value: object) -> Secret | TranslatableText:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        return _("%(label)s must be text: the secret itself, given as %(twin)s.")
    if value.strip().startswith("{{secrets/"):
        return _(
            "%(twin)s holds a secret reference. Give the reference as %(name)s, or the secret itself here."
        )
    return Secret.from_plaintext(value.strip())


def _secret_problem(
    secret: Secret | TranslatableText, name: str, field: ConfigField, trusted: bool
) -> TranslatableText | None:
    if isinstance(secret, TranslatableText):
        return secret.fill(label=field.label, name=name, twin=name + PLAINTEXT_SUFFIX)
    if trusted or secret.kind != "plaintext":
        return None
    return _value_problem(secret.reveal(), field)


def _value_problem(value: str, field: ConfigField) -> TranslatableText | None:
    """The problem with a plaintext secret, if any. A single-line secret is sent in a header, which allows ASCII only."""
    if len(value) > field.max_length:
        limit = _("%(label)s can have at most %(limit)s characters.")
        return limit.fill(label=field.label, limit=field.max_length)
    allowed = "\n\r\t" if field.multiline else ""
    if has_control_characters(value, allowed=allowed) or not (field.multiline or value.isascii()):
        wrong = _("%(label)s contains a line break or another character that no key has. Copy it again.")
        return wrong.fill(label=field.label)
    return None


def visibility_problems(
    fields: Fields, form_choices: tuple[ConfigField, ...], block: ParsedBlock
) -> list[Problem]:
    """A field that is shown and required must have a value; a field that is not shown must have none."""
    choices = _choice_values(fields, form_choices, block)
    refused = block.refused
    problems = []
    for name, field in fields.items():
        depends_on_refused = field.shown_when is not None and field.shown_when[0] in refused
        if name in refused or depends_on_refused:
            continue
        has_value = name in block.values
        if not visibility.is_met(field.shown_when, choices):
            if has_value:
                message = _not_applicable_message(field, fields, form_choices)
                problems.append(Problem((name,), message, "not_applicable"))
        elif not has_value and _is_required(field, choices):
            problems.append(Problem((name,), _missing_message(field), "required"))
    return problems


def _is_required(field: ConfigField, choices: Mapping[str, str]) -> bool:
    needed = visibility.is_required(field.required, field.required_when, choices)
    return needed and field.default is None


def _choice_values(
    fields: Fields, form_choices: tuple[ConfigField, ...], block: ParsedBlock
) -> dict[str, str]:
    choices: dict[str, str | None] = {
        name: block.values.get(name, field.default)
        for name, field in fields.items()
        if field.kind == "choice"
    }
    for choice in form_choices:
        valid = [_condition(fields, name) for name in block.values]
        mentioned = [_condition(fields, name) for name in block.empty | _names(block.refused)]
        answer = visibility.implied_choice(choice, valid) or visibility.implied_choice(choice, mentioned)
        choices[choice.name] = answer or choice.default
    return {name: answer for name, answer in choices.items() if answer is not None}


def _names(refused: set[str | int]) -> set[str]:
    return {name for name in refused if isinstance(name, str)}


def _condition(fields: Fields, name: str) -> Condition | None:
    return fields[name].shown_when


def _missing_message(field: ConfigField) -> TranslatableText:
    if field.kind == "secret":
        return _(
            "%(label)s is missing. Give a secret reference such as {{secrets/scope/key}}, or the secret itself."
        ).fill(label=field.label)
    if field.kind == "choice":
        known = [name for name, _label in field.choices]
        return _("%(label)s is missing. Choose one of: %(known)s.").fill(label=field.label, known=known)
    return _("%(label)s is missing. Give it and try again.").fill(label=field.label)


def _not_applicable_message(
    field: ConfigField, fields: Fields, form_choices: tuple[ConfigField, ...]
) -> TranslatableText:
    other, allowed = field.shown_when or ("", frozenset())
    choices: dict[str, tuple[TranslatableText, tuple[tuple[str, TranslatableText], ...]]] = {
        name: (each.label, each.choices) for name, each in fields.items()
    }
    choices |= {each.name: (each.label, each.choices) for each in form_choices}
    label, known = choices[other]
    wanted = [name for value, name in known if value in allowed]
    message = _(
        "%(label)s can only be given when %(other)s is one of: %(wanted)s. Leave it out, or change that."
    )
    if len(wanted) == 1:
        message = _("%(label)s can only be given when %(other)s is %(wanted)s. Leave it out, or change that.")
    return message.fill(label=field.label, other=label, wanted=wanted)
