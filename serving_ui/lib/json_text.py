"""JSON as it crosses our borders: read within bounds, and written so that every parser takes it.

The one place where the depth and the number of parts of a foreign text are bounded. Neither side ever has `NaN` or an infinite
number: RFC 8259 knows none, though Python's own parser and some providers do.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

DEEPEST = 200
"""Levels of lists and objects: the parser's own limit, and that of most others."""
MOST_CONTAINERS = 100_000
"""Lists and objects in one text. Parsing 4 MB of nothing else holds up a process for a second; so many take 50 ms."""

_N, _I = b"NI"
_OPENING = re.compile(rb"[\[{]")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRING_OR_NO_NUMBER = re.compile(_STRING.pattern + rb"|-?(?:NaN|Infinity)", re.DOTALL)


class JsonInvalid(ValueError):
    """The text cannot be used. The message is a sentence without the text itself."""


def read(content: bytes, *, lenient: bool = False) -> Any:
    """What the text says. Raises JsonInvalid.

    `lenient` is for what a model or its tool wrote: a number that JSON does not have becomes null, instead of a refusal.
    """
    if len(content) > MOST_CONTAINERS and _containers(content) > MOST_CONTAINERS:
        raise JsonInvalid(f"It has more than {MOST_CONTAINERS} lists and objects.")
    try:
        value = from_json(content, allow_inf_nan=lenient)
    except ValueError as problem:
        if "recursion limit" in str(problem):
            raise JsonInvalid(f"It is nested deeper than {DEEPEST} levels.") from None
        raise JsonInvalid(f"It is not valid JSON: {problem}.") from None
    if is_finite(value):
        return value
    if not lenient:
        raise JsonInvalid("It has a number that is too large.")
    return from_json(write(value))


def write(value: Any) -> bytes:
    """The value as JSON; null stands for a number that JSON does not have."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        return without_infinity(json.dumps(value, separators=(",", ":")).encode())


def without_infinity(content: bytes) -> bytes:
    """The text with null for each bare `NaN` and `Infinity`, and otherwise byte by byte as it came. Cheap when there are none."""
    has_one = (_N in content and b"NaN" in content) or (_I in content and b"Infinity" in content)
    if not has_one:  # a byte is found ten times as fast as a text
        return content
    return _STRING_OR_NO_NUMBER.sub(lambda found: found[0] if found[0][:1] == b'"' else b"null", content)


def is_finite(value: Any) -> bool:
    """Whether all numbers in it are. A walk through what was parsed takes less than a look for large exponents in its text."""
    waiting = [value]
    for part in waiting:  # which grows meanwhile
        kind = type(part)
        if kind is dict:
            waiting.extend(part.values())
        elif kind is list:
            waiting.extend(part)
        elif kind is float and not math.isfinite(part):
            return False
    return True


def _containers(content: bytes) -> int:
    """Those outside of texts, or more when there are few anyhow."""
    most = content.count(b"[") + content.count(b"{")
    if most <= MOST_CONTAINERS:
        return most
    return len(_OPENING.findall(_STRING.sub(b"", content)))
