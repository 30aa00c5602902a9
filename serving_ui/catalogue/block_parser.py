"""Reads one block of the API against its fields: pairs of secrets, types, forms of values, and the two rules.

Everything wrong becomes a problem at the path of the field concerned; nothing is raised here, so that a person sees all at once.
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
    """What a block gives: values by name, names that are there but empty, and what is wrong."""

    given: dict[str, Any] = dataclasses.field(default_factory=dict)
    empty: set[str] = dataclasses.field(default_factory=set)
    problems: list[Problem] = dataclasses.field(default_factory=list)

    def refuse(self, name: str, message: TranslatableText, code: str = "invalid") -> None:
        self.problems.append(Problem((name,), message, code))

    @property
    def refused(self) -> set[str | int]:
        return {problem.path[0] for problem in self.problems if problem.path}


def parse(fields: Fields, data: object, *, trusted: bool) -> ParsedBlock:
    """Take the declared fields out of `data`; `trusted` leaves the form of values unchecked."""
    reading = ParsedBlock()
    if not isinstance(data, Mapping):
        reading.problems.append(Problem((), _("This must be an object with the fields of the provider.")))
        return reading
    for name, field in fields.items():
        if field.kind == "secret":
            _parse_secret(reading, name, field, data, trusted)
        elif field.group is not None:
            if data.get(name) is not None:
                reading.given[name] = data[name]
        else:
            _parse_text(reading, name, field, data.get(name), trusted)
    return reading


def _parse_text(reading: ParsedBlock, name: str, field: ConfigField, value: object, trusted: bool) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        reading.refuse(name, _("%(label)s must be text.").fill(label=field.label))
        return
    value = value.strip()
    if not value:
        reading.empty.add(name)
        return
    if field.any_case:
        value = value.lower()
    problem = None if trusted else field.problem(value)
    if problem:
        reading.refuse(name, problem)
    else:
        reading.given[name] = value


def _parse_secret(
    reading: ParsedBlock, name: str, field: ConfigField, data: Mapping[Any, Any], trusted: bool
) -> None:
    reference, plaintext = data.get(name), data.get(name + PLAINTEXT_SUFFIX)
    given = [value for value in (reference, plaintext) if not _is_blank(value)]
    if len(given) == 2:
        both = _("Give %(label)s either as a secret reference or as the secret itself, not both.")
        reading.refuse(name, both.fill(label=field.label))
    elif not given:
        if reference is not None or plaintext is not None:
            reading.empty.add(name)
    else:
        secret = (
            _secret_from_reference(reference)
            if plaintext is None or _is_blank(plaintext)
            else _secret_from_plaintext(plaintext)
        )
        problem = _secret_problem(secret, name, field, trusted)
        if problem:
            reading.refuse(name, problem)
        else:
            reading.given[name] = secret


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
    """A single-line secret travels in a header: what a header cannot carry was pasted wrongly."""
    if len(value) > field.max_length:
        limit = _("%(label)s can have at most %(limit)s characters.")
        return limit.fill(label=field.label, limit=field.max_length)
    allowed = "\n\r\t" if field.multiline else ""
    if has_control_characters(value, allowed=allowed) or not (field.multiline or value.isascii()):
        wrong = _("%(label)s contains a line break or another character that no key has. Copy it again.")
        return wrong.fill(label=field.label)
    return None


def visibility_problems(
    fields: Fields, form_choices: tuple[ConfigField, ...], reading: ParsedBlock
) -> list[Problem]:
    """A field that is shown and required must be given; a field that is not shown must not be."""
    answers = _choice_values(fields, form_choices, reading)
    refused = reading.refused
    problems = []
    for name, field in fields.items():
        doubtful = field.shown_when is not None and field.shown_when[0] in refused
        if name in refused or doubtful:
            continue
        given = name in reading.given
        if not visibility.is_met(field.shown_when, answers):
            if given:
                message = _not_applicable_message(field, fields, form_choices)
                problems.append(Problem((name,), message, "not_applicable"))
        elif not given and _is_required(field, answers):
            problems.append(Problem((name,), _missing_message(field), "required"))
    return problems


def _is_required(field: ConfigField, answers: Mapping[str, str]) -> bool:
    needed = visibility.is_required(field.required, field.required_when, answers)
    return needed and field.default is None


def _choice_values(
    fields: Fields, form_choices: tuple[ConfigField, ...], reading: ParsedBlock
) -> dict[str, str]:
    answers: dict[str, str | None] = {
        name: reading.given.get(name, field.default)
        for name, field in fields.items()
        if field.kind == "choice"
    }
    for choice in form_choices:
        spoken = [_condition(fields, name) for name in reading.given]
        touched = [_condition(fields, name) for name in reading.empty | _names(reading.refused)]
        answer = visibility.implied_choice(choice, spoken) or visibility.implied_choice(choice, touched)
        answers[choice.name] = answer or choice.default
    return {name: answer for name, answer in answers.items() if answer is not None}


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
    other, answers = field.shown_when or ("", frozenset())
    choices: dict[str, tuple[TranslatableText, tuple[tuple[str, TranslatableText], ...]]] = {
        name: (each.label, each.choices) for name, each in fields.items()
    }
    choices |= {each.name: (each.label, each.choices) for each in form_choices}
    label, known = choices[other]
    wanted = [name for value, name in known if value in answers]
    message = _(
        "%(label)s can only be given when %(other)s is one of: %(wanted)s. Leave it out, or change that."
    )
    if len(wanted) == 1:
        message = _("%(label)s can only be given when %(other)s is %(wanted)s. Leave it out, or change that.")
    return message.fill(label=field.label, other=label, wanted=wanted)
