"""Counts the tokens of one query: as the provider reports them, else estimated from the length of the texts.

A provider's numbers are believed within reason: no negative ones, none that no model could have. The count of a passed answer is
picked out of its bytes, because parsing a megabyte of embeddings to find two numbers would cost more than all else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

MOST_TOKENS = 100_000_000
# As OpenAI and most others write it; what is written differently is looked for with more care.
_USUAL = re.compile(
    rb'"usage":\s*\{\s*"prompt_tokens":\s*(\d{1,8}),\s*"completion_tokens":\s*(\d{1,8})\s*[,}]'
)
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_IN = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(-?\d{1,18})(?![\d.eE])')
_OUT = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(-?\d{1,18})(?![\d.eE])')
_USAGE_BYTES = 2048


class Tally:
    """`heard` is the length of the texts that the model has said, for when the provider reports nothing."""

    __slots__ = ("heard", "reported", "tokens_in", "tokens_out")

    def __init__(self) -> None:
        self.tokens_in = 0
        self.tokens_out = 0
        self.reported = False
        self.heard = 0

    def usage(self, counts: Any) -> None:
        """A `usage` object, of any of OpenAI's two APIs. Later ones replace earlier ones."""
        if not isinstance(counts, Mapping):
            return
        given = counts.get("prompt_tokens", counts.get("input_tokens"))
        said = counts.get("completion_tokens", counts.get("output_tokens"))
        self._take(given, said)

    def chunk(self, chunk: Mapping[str, Any]) -> bool:
        """One chunk of a stream. Gives whether a choice says why it ended."""
        counts = chunk.get("usage")
        if counts:
            self.usage(counts)
        finished = False
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    finished = bool(choice.get("finish_reason")) or finished
                    delta = choice.get("delta", choice)
                    if isinstance(delta, dict):
                        self.heard += _heard(delta)
        return finished

    def response_event(self, content: Mapping[str, Any]) -> None:
        """One event of the Responses API."""
        delta = content.get("delta")
        if isinstance(delta, str):
            self.heard += len(delta)
        response = content.get("response")
        if isinstance(response, dict):
            self.usage(response.get("usage"))

    def whole(self, content: bytes) -> None:
        """A whole answer as bytes. The last `usage` counts; a text that speaks of one has its quotes escaped."""
        at = content.rfind(b'"usage"')
        usual = _USUAL.match(content, at) if at >= 0 else None
        if usual is not None:
            self.tokens_in, self.tokens_out = int(usual[1]), int(usual[2])
            self.reported = self.tokens_in > 0 or self.tokens_out > 0
        elif at >= 0 and (found := _USAGE.match(content, at)) is not None:
            near = content[found.end() : found.end() + _USAGE_BYTES]
            given, said = _IN.search(near), _OUT.search(near)
            self._take(int(given[1]) if given else None, int(said[1]) if said else None)
        if not self.reported:
            self.heard += _length_of_answer(content)

    def answer(self, content: Mapping[str, Any]) -> None:
        """A whole answer that has been parsed anyway."""
        self.usage(content.get("usage"))
        if not self.reported:
            self.heard += _said(content)

    def _take(self, given: Any, said: Any) -> None:
        # A report of nothing at all is that of a provider who tells no tokens (Cohere's on Bedrock).
        if (_is_count(given) and given) or (_is_count(said) and said):
            self.reported = True
            self.tokens_in = _clamped(given, self.tokens_in)
            self.tokens_out = _clamped(said, self.tokens_out)


def estimate(length: int) -> int:
    """Tokens of a text of so many characters."""
    return (length + 1) // 4


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _clamped(value: Any, before: int) -> int:
    return int(min(value, MOST_TOKENS)) if _is_count(value) else before


def _length_of_answer(content: bytes) -> int:
    """What a model said in an answer without counts."""
    try:
        return _said(from_json(content))
    except ValueError:
        return 0


def _said(content: Any) -> int:
    choices = content.get("choices") if isinstance(content, Mapping) else None
    total = 0
    for choice in choices if isinstance(choices, list) else ():
        said = choice.get("message", choice) if isinstance(choice, dict) else None
        if isinstance(said, dict):
            total += _heard(said)
    return total


def _heard(said: Mapping[str, Any]) -> int:
    """Characters of a message or a piece of one: what the model wrote, thought, and gave to tools."""
    total = 0
    for name in ("content", "text", "reasoning_content"):
        text = said.get(name)
        if isinstance(text, str):
            total += len(text)
    if "tool_calls" in said:
        calls = said["tool_calls"]
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            total += len(arguments) if isinstance(arguments, str) else 0
    return total
