"""Texts for people: English here, translated by the pages and the API.

`_` only marks a string for extraction. A `TranslatableText` is the English text and keeps its template and parts, so that it can be
translated after it was raised in an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class TranslatableText(str):
    """A string with the template and the parts that it was made from."""

    __slots__ = ("parts", "template")

    template: str
    parts: dict[str, object]

    def __new__(cls, template: str, parts: dict[str, object] | None = None) -> Self:
        spelled = (
            template % {name: _formatted(part, str) for name, part in parts.items()} if parts else template
        )
        text = super().__new__(cls, spelled)
        text.template = template
        text.parts = parts or {}
        return text

    def fill(self, **parts: object) -> TranslatableText:
        """The text with the placeholders %(name)s replaced."""
        return TranslatableText(self.template, parts)

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The text in the language of `gettext`; parts that are TranslatableText are translated too."""
        template = gettext(self.template)
        if not self.parts:
            return template
        return template % {name: _formatted(part, gettext) for name, part in self.parts.items()}

    def __reduce__(self) -> tuple[type[TranslatableText], tuple[str, dict[str, object]]]:
        return (TranslatableText, (self.template, self.parts))


def _formatted(part: object, gettext: Callable[[str], str]) -> str:
    if isinstance(part, TranslatableText):
        return part.translated(gettext)
    if isinstance(part, (list, tuple)):
        return ", ".join(_formatted(each, gettext) for each in part)
    return str(part)


def _(text: str) -> TranslatableText:
    """Mark a string for translation."""
    return TranslatableText(text)


def has_control_characters(value: str, *, allowed: str = "") -> bool:
    """Whether a value contains control characters or lone surrogates, except `allowed`."""
    return any(found not in allowed for found in _CONTROL.findall(value))
