"""How a provider's file declares the fields of its config.

`ConfigField` holds what form, validation and documentation need. The builders (`text`, `url`, `choice`, `secret`, `block`) return
pydantic's `Field`; `provider_config.py` applies the declarations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from serving_ui.catalogue.translatable import TranslatableText, _, has_control_characters

FieldKind = Literal["text", "url", "choice", "secret"]
Condition = tuple[str, frozenset[str]]
Choices = tuple[tuple[str, TranslatableText], ...]

NO_TEXT = TranslatableText("")
DEFAULT_MAX_LENGTH = 1024


@dataclass(frozen=True, kw_only=True)
class ConfigField:
    """One field of a provider's config.

    A provider's file declares it without `name` and `path`; `provider_config.py` fills them in. As `json_schema_extra` it also
    titles the field in JSON schemas.
    """

    name: str = ""
    """The name in the form: the parts of `path` joined by `__`, or the name of a form-only choice."""
    path: tuple[str, ...] = ()
    """The path in the config block of the API; empty for a form-only choice."""
    label: TranslatableText
    help: TranslatableText = NO_TEXT
    kind: FieldKind = "text"
    required: bool = False
    required_when: Condition | None = None
    default: str | None = None
    choices: Choices = ()
    any_case: bool = False
    placeholder: str = ""
    multiline: bool = False
    pattern: str | None = None
    max_length: int = DEFAULT_MAX_LENGTH
    shown_when: Condition | None = None
    decides_destination: bool = True
    """Whether the value decides where or how the secrets of the block are sent, so that they must be given again if it changes."""
    group: type[Any] | None = None
    """The model of a nested block, whose fields replace this one in a form."""

    @property
    def is_form_only(self) -> bool:
        """Whether only the form has the field: the API infers its value from the other fields."""
        return not self.path

    def __call__(self, schema: dict[str, Any]) -> None:
        schema["title"] = str(self.label)
        if self.help:
            schema["description"] = str(self.help)

    def problem(self, value: str) -> TranslatableText | None:
        """The problem with a value, if any."""
        if self.kind == "choice":
            return self._choice_problem(value)
        if has_control_characters(value):
            return _("%(label)s contains a line break or another character that cannot be part of it.").fill(
                label=self.label
            )
        if len(value) > self.max_length:
            return _("%(label)s can have at most %(limit)s characters.").fill(
                label=self.label, limit=self.max_length
            )
        if self.kind == "url":
            return _url_problem(self.label, value)
        if self.pattern and not re.fullmatch(self.pattern, value):
            return self._pattern_problem()
        return None

    def _choice_problem(self, value: str) -> TranslatableText | None:
        known = [name for name, _label in self.choices]
        if value in known:
            return None
        return _("%(label)s must be one of: %(known)s.").fill(label=self.label, known=known)

    def _pattern_problem(self) -> TranslatableText:
        if self.placeholder:
            return _("%(label)s is not in the expected form. An example: %(example)s.").fill(
                label=self.label, example=self.placeholder
            )
        return _("%(label)s contains a character that cannot be part of it.").fill(label=self.label)


When = Mapping[str, tuple[str, ...]]


def text(
    label: TranslatableText,
    *,
    help: TranslatableText = NO_TEXT,
    required: bool = True,
    required_when: When | None = None,
    placeholder: str = "",
    shown_when: When | None = None,
    pattern: str | None = None,
    max_length: int = DEFAULT_MAX_LENGTH,
    decides_destination: bool = True,
) -> Any:
    """One line of plain text."""
    return _declared(
        ConfigField(
            label=label,
            help=help,
            required=required,
            required_when=_condition(required_when),
            placeholder=placeholder,
            shown_when=_condition(shown_when),
            pattern=pattern,
            max_length=max_length,
            decides_destination=decides_destination,
        )
    )


def url(
    label: TranslatableText,
    *,
    help: TranslatableText = NO_TEXT,
    required: bool = True,
    required_when: When | None = None,
    placeholder: str = "",
    shown_when: When | None = None,
) -> Any:
    """An http or https address without user name, query or fragment."""
    return _declared(
        ConfigField(
            label=label,
            help=help,
            kind="url",
            required=required,
            required_when=_condition(required_when),
            placeholder=placeholder,
            shown_when=_condition(shown_when),
        )
    )


def choice(
    label: TranslatableText,
    *,
    choices: Mapping[str, TranslatableText],
    help: TranslatableText = NO_TEXT,
    required: bool = True,
    default: str | None = None,
    shown_when: When | None = None,
    any_case: bool = False,
    decides_destination: bool = True,
) -> Any:
    """One of `choices`; `any_case` makes the value case-insensitive."""
    return _declared(
        ConfigField(
            label=label,
            help=help,
            kind="choice",
            required=required,
            default=default,
            choices=tuple(choices.items()),
            shown_when=_condition(shown_when),
            any_case=any_case,
            decides_destination=decides_destination,
        )
    )


def form_choice(
    name: str, label: TranslatableText, *, choices: Mapping[str, TranslatableText]
) -> ConfigField:
    """A choice that only the form has, for a block's `form_choices`. The first value is the default."""
    return ConfigField(
        name=name,
        label=label,
        kind="choice",
        required=True,
        default=next(iter(choices)),
        choices=tuple(choices.items()),
    )


def secret(
    label: TranslatableText,
    *,
    help: TranslatableText = NO_TEXT,
    required: bool = True,
    shown_when: When | None = None,
    multiline: bool = False,
) -> Any:
    """A secret: in the API, the field `X` takes a reference and `X_plaintext` the plaintext."""
    return _declared(
        ConfigField(
            label=label,
            help=help,
            kind="secret",
            required=required,
            shown_when=_condition(shown_when),
            multiline=multiline,
            max_length=65_536 if multiline else 8_192,
        )
    )


def block(group: type[Any], label: TranslatableText, *, shown_when: When | None = None) -> Any:
    """A nested block of further fields."""
    return _declared(ConfigField(label=label, group=group, shown_when=_condition(shown_when)))


def _declared(field: ConfigField) -> Any:
    # pydantic does not validate the default; `provider_config.py` checks required fields, with better messages.
    return Field(default=field.default, json_schema_extra=field)


def _condition(when: When | None) -> Condition | None:
    if when is None:
        return None
    ((name, values),) = when.items()
    return (name, frozenset(values))


def _url_problem(label: TranslatableText, value: str) -> TranslatableText | None:
    malformed = _("%(label)s must be an address such as https://example.com/v1.").fill(label=label)
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return malformed
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\<>\"{}|^`]", value):
        return malformed
    if "@" in parts.netloc:
        return _("%(label)s cannot contain a user name or password. Give the key in its own field.").fill(
            label=label
        )
    if "?" in value or "#" in value:
        return _("%(label)s cannot contain ? or #. Give the address only.").fill(label=label)
    return None
