"""Counts the tokens of one query: as the provider reports them, else estimated from the length of the texts.

Each count is kept as it comes, so that a stream which is cut or left has what the provider told until then. A later count replaces
an earlier one; none takes back what was told. A provider's numbers are believed within reason: no negative ones, none that no model
could have. The counts of a passed answer are picked out of its bytes, because parsing a megabyte of embeddings to find two numbers
would cost more than all else.

Whatever the vendor, `tokens_in` are all of the input, with `cached` (read from the provider's cache) and `written` (kept in it) as
parts, and `tokens_out` are all of the output, with `reasoning` as a part. Who counts a part beside the whole shows it by the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any, Protocol

MOST_TOKENS = 100_000_000
REPORTED, MIXED, ESTIMATED, NONE = "reported", "mixed", "estimated", "none"
# As OpenAI and most others write it, with no details or nothing in them; what is written differently is looked at with more care.
_USUAL = re.compile(
    rb'"usage":\s*+\{\s*+"prompt_tokens":\s*+(\d{1,8}+),\s*+"completion_tokens":\s*+(\d{1,8}+)(?:,\s*+"total_tokens":\s*+\d{1,9}+)?'
    rb'(?:,\s*+"(?:prompt|completion)_tokens_details":\s*+(?:null|\{[^{}1-9]*+\}))*+\s*+\}'
)
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_USAGE_BYTES = 4096
_DECODER = JSONDecoder()


Counts = tuple[int, int, str, int, int, int]
"""What one query used, as a record has it: in, out, who counted, and of these cached, written and reasoning. Made for every query."""


class HasLength(Protocol):
    """What tokens are estimated from, counted only when they are."""

    @property
    def length(self) -> int: ...


class TokenCounter:
    """`heard` is the length of the texts that the model has said, for when the provider reports nothing, or not all."""

    __slots__ = (
        "_earlier",
        "_heard_when_counted",
        "cached",
        "heard",
        "reasoning",
        "tokens_in",
        "tokens_out",
        "written",
    )

    def __init__(self) -> None:
        self.tokens_in = self.tokens_out = 0
        self.cached = self.written = self.reasoning = 0
        self.heard = self._heard_when_counted = 0
        self._earlier: Counts | None = None

    @property
    def reported(self) -> bool:
        """Whether the provider has told anything. A report of nothing at all is that of one who tells no tokens."""
        return self.tokens_in > 0 or self.tokens_out > 0

    @property
    def has_output(self) -> bool:
        """Whether anything is known of what the model has written."""
        return self.tokens_out > 0 or self.heard > 0

    def start_retry(self, used: Counts) -> None:
        """The request is asked once more, or elsewhere. What was `used` until now stays counted."""
        self._earlier = used
        self.tokens_in = self.tokens_out = self.cached = self.written = self.reasoning = 0
        self.heard = self._heard_when_counted = 0

    def reported_counts(self) -> Counts:
        """What the provider has told."""
        return self._counts(self.tokens_in, self.tokens_out, REPORTED if self.reported else NONE)

    def estimated_counts(self, request: HasLength, ended: bool) -> Counts:
        """The same, and an estimate of what it has not told. Of an answer that has not `ended`, that is what was heard after its last count."""
        given, said = self.tokens_in, self.tokens_out
        if given and (self.heard <= self._heard_when_counted or (ended and said)):
            if self._earlier is None:  # as mostly
                return given, said, REPORTED, self.cached, self.written, self.reasoning
            return self._counts(given, said, REPORTED)
        source = MIXED if given or said else ESTIMATED
        if not given:
            given = estimate(request.length)
        if self.heard > self._heard_when_counted and not (ended and said):
            said += estimate(self.heard - self._heard_when_counted)
        return self._counts(given, said, source)

    def _counts(self, given: int, said: int, source: str) -> Counts:
        """With the tries before."""
        before = self._earlier
        if before is None:
            return given, said, source, self.cached, self.written, self.reasoning
        sources = {source, before[2]} - {NONE}
        return (
            given + before[0],
            said + before[1],
            MIXED if len(sources) > 1 else sources.pop() if sources else NONE,
            self.cached + before[3],
            self.written + before[4],
            self.reasoning + before[5],
        )

    def usage(self, counts: Any) -> None:
        """A `usage` object, of any of OpenAI's two APIs. Later ones replace earlier ones."""
        if not isinstance(counts, dict):
            return
        given, said = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        is_anthropic = not given and (
            "cache_read_input_tokens" in counts or "cache_creation_input_tokens" in counts
        )
        given, said = given or _count(counts, "input_tokens"), said or _count(counts, "output_tokens")
        cached, written = _cached(counts)
        reasoning = _count(
            _details(counts, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
        )
        if cached or written or reasoning:
            total, parts = _count(counts, "total_tokens"), cached + written
            if is_anthropic or parts > given or (parts and total == given + said + parts):
                given += parts
            if reasoning > said or (reasoning and total == given + said + reasoning):
                said += reasoning
        self._take(given, said, cached, written, reasoning)

    def chunk(self, chunk: Mapping[str, Any]) -> bool:
        """One chunk of a stream. Gives whether a choice says why it ended."""
        finished = False
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    finished = bool(choice.get("finish_reason")) or finished
                    delta = choice.get("delta", choice)
                    if isinstance(delta, dict):
                        self.heard += _heard(delta)
                    if "usage" in choice:  # Moonshot's place
                        self.usage(choice["usage"])
        counts = chunk.get("usage")
        if counts:
            self.usage(counts)
        elif "x_groq" in chunk and isinstance(chunk["x_groq"], dict):
            self.usage(chunk["x_groq"].get("usage"))
        return finished

    def response_event(self, content: Mapping[str, Any]) -> None:
        """One event of the Responses API."""
        delta = content.get("delta")
        if isinstance(delta, str):
            self.heard += len(delta)
        response = content.get("response")
        if isinstance(response, dict):
            self.usage(response.get("usage"))

    def whole(self, content: bytes) -> int:
        """A whole answer as bytes. The last `usage` counts; a text that speaks of one has its quotes escaped.

        Gives where the counts are in it: their end, or their beginning when they are not written as usual. 0 when there are
        none; then the answer must be parsed and given to `answer`.
        """
        at = content.rfind(b'"usage"')
        usual = _USUAL.match(content, at) if at >= 0 else None
        if usual is not None:
            self.tokens_in, self.tokens_out, at = int(usual[1]), int(usual[2]), usual.end()
        elif at >= 0 and (found := _USAGE.match(content, at)) is not None:
            near = content[found.end() : found.end() + _USAGE_BYTES].decode("utf-8", "replace")
            try:
                self.usage(_DECODER.raw_decode(near)[0])
            except (ValueError, RecursionError):  # longer than anybody's
                return 0
        return at if self.tokens_in > 0 or self.tokens_out > 0 else 0

    def answer(self, content: Any) -> None:
        """A whole answer that has been parsed anyway."""
        if isinstance(content, dict):
            choices = content.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, dict):
                    self.usage(choice.get("usage"))
            self.usage(content.get("usage"))
            if not self.reported:
                self.heard += _said(content)

    def _take(self, given: int, said: int, cached: int, written: int, reasoning: int) -> None:
        """A zero is no news: chunks of some vendors have zeros until the last one."""
        if given:
            self.tokens_in = min(given, MOST_TOKENS)
        if said:
            self.tokens_out = min(said, MOST_TOKENS)
            self._heard_when_counted = self.heard
        if cached or written or reasoning:
            self.cached = min(cached or self.cached, self.tokens_in)
            self.written = min(written or self.written, self.tokens_in)
            self.reasoning = min(reasoning or self.reasoning, self.tokens_out)


def estimate(length: int) -> int:
    """Tokens of a text of so many characters."""
    return (length + 1) // 4


def _count(counts: Mapping[str, Any], name: str) -> int:
    """A count that can be believed, else 0."""
    value = counts.get(name)
    if value is None or value is True or not isinstance(value, (int, float)) or not value > 0:
        return 0
    return int(min(value, MOST_TOKENS))


def _details(counts: Mapping[str, Any], name: str, in_responses: str) -> Mapping[str, Any]:
    details = counts.get(name) or counts.get(in_responses)
    return details if isinstance(details, dict) else {}


def _cached(counts: Mapping[str, Any]) -> tuple[int, int]:
    """Read from a cache and written to it, as OpenAI says it, DeepSeek, LiteLLM, Moonshot, or Anthropic and Databricks."""
    details = _details(counts, "prompt_tokens_details", "input_tokens_details")
    read = (
        _count(details, "cached_tokens")
        or _count(counts, "prompt_cache_hit_tokens")
        or _count(counts, "cache_read_input_tokens")
        or _count(counts, "cached_tokens")
    )
    written = (
        _count(details, "cache_write_tokens")
        or _count(details, "cache_creation_tokens")
        or _count(counts, "cache_creation_input_tokens")
    )
    return read, written


def _said(content: Mapping[str, Any]) -> int:
    choices = content.get("choices")
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
