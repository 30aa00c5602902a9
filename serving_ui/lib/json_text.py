"""JSON as it crosses our borders: read within bounds, and written so that every parser takes it.

The one place where the depth and the number of parts of a foreign text are bounded. Neither side ever has `NaN` or an infinite
number: RFC 8259 knows none, though Python's own parser and some providers do.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, from_json, to_json

MAX_DEPTH = 200
"""Levels of lists and objects: the parser's own limit, and that of most others."""


class Bounds(NamedTuple):
    """How many parts a text may have, since time and memory for a byte depend on them: a list of nothing takes as long as a page."""

    brackets: int
    """Opening ones, also those within strings: there may be JSON in them that is read later."""
    containers: int
    """Lists and objects."""
    names: int
    """Of all objects together."""
    values: int


RESPONSE_BOUNDS = Bounds(brackets=100_000_000, containers=100_000, names=1_000_000, values=10_000_000)
"""Of a provider: the vectors of 2,048 texts are six million numbers."""
REQUEST_BOUNDS = Bounds(brackets=400_000, containers=20_000, names=100_000, values=400_000)
"""Of a caller: a translation takes ten times as long as the parser. These are more messages than a model reads, and more tokens than
one embeds at once; 16 MB of nothing else would have eight million."""

_UNCOUNTED_BYTES = REQUEST_BOUNDS.containers
"""Bytes that cannot hold too many of anything."""
_N, _I = b"NI"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SHORT_TEXT_BYTES = 1024
_DIGIT = bytes(ord("0") if chr(code) in "0123456789" else ord(" ") for code in range(256))
_TOO_MANY_DIGITS = b"0" * 309
_STRING_OR_NO_NUMBER = re.compile(_STRING.pattern + rb"|-?(?:NaN|Infinity)", re.DOTALL)


class JsonInvalid(ValueError):
    """The text cannot be used. The message is a sentence without the text itself."""


def read(content: bytes, bounds: Bounds = RESPONSE_BOUNDS, *, lenient: bool = False) -> Any:
    """What the text says. Raises JsonInvalid.

    `lenient` is for what a model or its tool wrote: a number that JSON does not have becomes null, instead of a refusal.
    """
    if len(content) > _UNCOUNTED_BYTES:
        _count(content, bounds)
    try:
        value = from_json(content, allow_inf_nan=lenient)
    except ValueError as problem:
        if "recursion limit" in str(problem):
            raise JsonInvalid(f"It is nested deeper than {MAX_DEPTH} levels.") from None
        raise JsonInvalid(f"It is not valid JSON: {problem}.") from None
    # A number beyond 1e308 has three digits in a row, for itself or its exponent. In a short text it pays to look.
    is_suspect = lenient or len(content) > _SHORT_TEXT_BYTES or content.translate(_DIGIT).find(b"000") >= 0
    if not is_suspect or is_finite(value):
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
    # A byte is found ten times as fast as a text, and in a short text `in` takes ten times as long as `find`.
    has_nan = _N in content and content.find(b"NaN") >= 0
    if not has_nan and (_I not in content or content.find(b"Infinity") < 0):
        return content
    return _STRING_OR_NO_NUMBER.sub(lambda found: found[0] if found[0][:1] == b'"' else b"null", content)


def is_finite(value: Any) -> bool:
    """Whether all numbers in it are. A walk through what was parsed takes less than a look for large exponents in its text."""
    waiting: list[Any] = [[value]]
    for holder in waiting:  # which grows meanwhile
        for part in holder.values() if type(holder) is dict else holder:
            kind = type(part)
            if kind is dict or kind is list:
                waiting.append(part)
            elif kind is float and not math.isfinite(part):
                return False
    return True


def _count(content: bytes, bounds: Bounds) -> None:
    """Raises JsonInvalid when there is too much in it. Costs about a nanosecond a byte, whatever the text is."""
    # Each string has a quotation mark at its beginning, and one within a string is escaped.
    if content.count(b'"') - content.count(b'\\"') > 2 * (bounds.values + bounds.names):
        raise JsonInvalid(f"It has more than {bounds.values} values.")
    if _opening_brackets(content) > bounds.brackets:
        raise JsonInvalid(f"It has more than {bounds.brackets} brackets, together with those in its texts.")
    problem = _exceeded_bound(content, bounds)
    if problem:  # what is within strings does not count
        problem = _exceeded_bound(_STRING.sub(b"", content), bounds)
    if problem:
        raise JsonInvalid(problem)


def _opening_brackets(content: bytes) -> int:
    return content.count(b"[") + content.count(b"{")


def _exceeded_bound(content: bytes, bounds: Bounds) -> str:
    if _opening_brackets(content) > bounds.containers:
        return f"It has more than {bounds.containers} lists and objects."
    if content.count(b":") > bounds.names:
        return f"Its objects have more than {bounds.names} names."
    if content.count(b",") > bounds.values:
        return f"It has more than {bounds.values} values."
    if _TOO_MANY_DIGITS in content.translate(_DIGIT):
        return "It has a number that is too large."
    return ""
