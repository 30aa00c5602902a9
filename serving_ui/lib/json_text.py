"""JSON as it crosses our borders: read within bounds, and written so that every parser takes it.

The one place where the depth and the number of parts of a foreign text are bounded. Neither side ever has `NaN` or an infinite
number: RFC 8259 knows none, though Python's own parser and some providers do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json, to_json

DEEPEST = 200
"""Levels of lists and objects: the parser's own limit, and that of most others."""
MOST_CONTAINERS = 100_000
"""Lists and objects in one text. Parsing 4 MB of nothing else holds up a process for a second; so many take 50 ms."""

_OPENING = re.compile(rb"[\[{]")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MAYBE_TOO_LARGE = re.compile(rb"[eE]\+?0*\d{3}|\d{309}")


class JsonInvalid(ValueError):
    """The text cannot be used. The message is a sentence without the text itself."""


def read(content: bytes) -> Any:
    """What the text says. Raises JsonInvalid."""
    if content.count(b"[") + content.count(b"{") > MOST_CONTAINERS and _containers(content) > MOST_CONTAINERS:
        raise JsonInvalid(f"It has more than {MOST_CONTAINERS} lists and objects.")
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as problem:
        if "recursion limit" in str(problem):
            raise JsonInvalid(f"It is nested deeper than {DEEPEST} levels.") from None
        raise JsonInvalid(f"It is not valid JSON: {problem}.") from None
    if _MAYBE_TOO_LARGE.search(content) and not is_finite(value):
        raise JsonInvalid("It has a number that is too large.")
    return value


def write(value: Any) -> bytes:
    """The value as JSON; null stands for a number that JSON does not have."""
    return to_json(value, inf_nan_mode="null")


def is_finite(value: Any) -> bool:
    """Whether all numbers in it are."""
    return all(math.isfinite(each) for each in _floats(value))


def _floats(value: Any) -> Iterator[float]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, float):
            yield part
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _containers(content: bytes) -> int:
    """Those outside of texts."""
    return len(_OPENING.findall(_STRING.sub(b"", content)))
