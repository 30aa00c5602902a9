"""Parses JSON from outside within bounds of depth and size, and writes JSON that every parser accepts.

Neither input nor output has `NaN` or infinite numbers: RFC 8259 has none, though Python's parser and some providers do.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, from_json, to_json

MAX_DEPTH = 200
"""Levels of nested lists and objects; also the limit of the parser."""


class Bounds(NamedTuple):
    """The maximum numbers of parts of a text. They bound time and memory, which a limit in bytes does not: `[]` costs as much as a long string."""

    brackets: int
    """Opening brackets, including those within strings, which may contain JSON that is parsed later."""
    containers: int
    """Lists and objects."""
    names: int
    """Names in all objects together."""
    values: int


RESPONSE_BOUNDS = Bounds(brackets=100_000_000, containers=100_000, names=1_000_000, values=10_000_000)
"""For responses of providers: the embeddings of 2,048 texts are six million numbers."""
REQUEST_BOUNDS = Bounds(brackets=400_000, containers=20_000, names=100_000, values=400_000)
"""For requests of callers, whose translation takes ten times as long as parsing. More messages than any model accepts, and more
tokens than one embeds at once; 16 MB could hold eight million values."""

_UNCOUNTED_BYTES = REQUEST_BOUNDS.containers
"""A text up to this size cannot exceed REQUEST_BOUNDS."""
_N, _I = b"NI"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SHORT_TEXT_BYTES = 1024
_DIGIT = bytes(ord("0") if chr(code) in "0123456789" else ord(" ") for code in range(256))
_TOO_MANY_DIGITS = b"0" * 309
_STRING_OR_NO_NUMBER = re.compile(_STRING.pattern + rb"|-?(?:NaN|Infinity)", re.DOTALL)


class JsonInvalid(ValueError):
    """The text cannot be used. The message is a sentence that does not contain the text."""


def read(content: bytes, bounds: Bounds = RESPONSE_BOUNDS, *, lenient: bool = False) -> Any:
    """The parsed value. Raises JsonInvalid.

    `lenient` is for JSON written by a model or a tool: `NaN` and infinite numbers become null instead of an error.
    """
    if len(content) > _UNCOUNTED_BYTES:
        _check_bounds(content, bounds)
    try:
        value = from_json(content, allow_inf_nan=lenient)
    except ValueError as problem:
        if "recursion limit" in str(problem):
            raise JsonInvalid(f"It is nested deeper than {MAX_DEPTH} levels.") from None
        raise JsonInvalid(f"It is not valid JSON: {problem}.") from None
    # A number beyond 1e308 has three digits in a row, in itself or in its exponent. Looking for them is only faster in a short text.
    is_suspect = lenient or len(content) > _SHORT_TEXT_BYTES or content.translate(_DIGIT).find(b"000") >= 0
    if not is_suspect or is_finite(value):
        return value
    if not lenient:
        raise JsonInvalid("It has a number that is too large.")
    return from_json(write(value))


def write(value: Any) -> bytes:
    """The value as JSON, with null for `NaN` and infinite numbers."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        return without_infinity(json.dumps(value, separators=(",", ":")).encode())


def without_infinity(content: bytes) -> bytes:
    """The text with null for each `NaN` and `Infinity` outside of strings, and otherwise unchanged. Cheap if there are none."""
    # Searching for one byte is ten times as fast as for several, and in a short text `in` takes ten times as long as `find`.
    has_nan = _N in content and content.find(b"NaN") >= 0
    if not has_nan and (_I not in content or content.find(b"Infinity") < 0):
        return content
    return _STRING_OR_NO_NUMBER.sub(lambda found: found[0] if found[0][:1] == b'"' else b"null", content)


def is_finite(value: Any) -> bool:
    """Whether all numbers in a parsed value are finite. Faster than a search for large exponents in the text."""
    pending: list[Any] = [[value]]
    for holder in pending:  # the loop appends to it
        for part in holder.values() if type(holder) is dict else holder:
            kind = type(part)
            if kind is dict or kind is list:
                pending.append(part)
            elif kind is float and not math.isfinite(part):
                return False
    return True


def _check_bounds(content: bytes, bounds: Bounds) -> None:
    """Raises JsonInvalid if the text exceeds the bounds. Takes about 1 ns per byte for any text."""
    # Each string has two unescaped quotation marks.
    if content.count(b'"') - content.count(b'\\"') > 2 * (bounds.values + bounds.names):
        raise JsonInvalid(f"It has more than {bounds.values} values.")
    if _opening_brackets(content) > bounds.brackets:
        raise JsonInvalid(f"It has more than {bounds.brackets} brackets, together with those in its texts.")
    problem = _exceeded_bound(content, bounds)
    if problem:  # count again without the contents of strings
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
