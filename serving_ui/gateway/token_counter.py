"""Counts the tokens of one query: as the provider reports them, else estimated from the length of the texts.

Each report is stored as it arrives, so that a stream that is cut keeps what was reported before. A later report replaces an earlier
one; a zero never does. Implausible numbers are ignored (negative) or capped (MAX_TOKENS). The usage of a passed-through reply is
found in its bytes, because parsing a megabyte of embeddings for two numbers would take longer than everything else.

For every vendor `tokens_in` is all of the input, including `cached` (read from the provider's cache) and `written` (stored in it),
and `tokens_out` is all of the output, including `reasoning`. A vendor that reports such a part beside the total is recognised by
its numbers, and the part is added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any, Protocol

MAX_TOKENS = 100_000_000
REPORTED, MIXED, ESTIMATED, NONE = "reported", "mixed", "estimated", "none"
# As OpenAI and most others write it, without details or with zeros only; any other spelling is parsed.
_COMMON_USAGE = re.compile(
    rb'"usage":\s*+\{\s*+"prompt_tokens":\s*+(\d{1,8}+),\s*+"completion_tokens":\s*+(\d{1,8}+)(?:,\s*+"total_tokens":\s*+\d{1,9}+)?'
    rb'(?:,\s*+"(?:prompt|completion)_tokens_details":\s*+(?:null|\{[^{}1-9]*+\}))*+\s*+\}'
)
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_USAGE_BYTES = 4096
_DECODER = JSONDecoder()


Counts = tuple[int, int, str, int, int, int]
"""(tokens in, tokens out, source, cached, written, reasoning), in the order of a usage record. A plain tuple for speed."""


class HasTextLength(Protocol):
    """A text whose length is computed when it is needed."""

    @property
    def text_length(self) -> int: ...


class TokenCounter:
    """`output_chars` counts the model's text, to estimate output tokens that the provider does not report."""

    __slots__ = (
        "_earlier_attempts",
        "_output_chars_when_counted",
        "cached",
        "output_chars",
        "reasoning",
        "tokens_in",
        "tokens_out",
        "written",
    )

    def __init__(self) -> None:
        self.tokens_in = self.tokens_out = 0
        self.cached = self.written = self.reasoning = 0
        self.output_chars = self._output_chars_when_counted = 0
        self._earlier_attempts: Counts | None = None

    @property
    def reported(self) -> bool:
        """Whether the provider has reported tokens. Zeros only are no report."""
        return self.tokens_in > 0 or self.tokens_out > 0

    @property
    def has_output(self) -> bool:
        """Whether the model is known to have written something."""
        return self.tokens_out > 0 or self.output_chars > 0

    def start_attempt(self, used: Counts) -> None:
        """A retry or fallback begins. `used` by the attempts before stays counted."""
        self._earlier_attempts = used
        self.tokens_in = self.tokens_out = self.cached = self.written = self.reasoning = 0
        self.output_chars = self._output_chars_when_counted = 0

    def reported_counts(self) -> Counts:
        """What the provider has reported."""
        return self._counts(self.tokens_in, self.tokens_out, REPORTED if self.reported else NONE)

    def estimated_counts(self, request: HasTextLength, ended: bool) -> Counts:
        """What the provider has reported, and estimates of what it has not.

        If the answer has not `ended`, the output after the last report is estimated from its text.
        """
        tokens_in, tokens_out = self.tokens_in, self.tokens_out
        if tokens_in and (self.output_chars <= self._output_chars_when_counted or (ended and tokens_out)):
            if self._earlier_attempts is None:  # the usual case
                return tokens_in, tokens_out, REPORTED, self.cached, self.written, self.reasoning
            return self._counts(tokens_in, tokens_out, REPORTED)
        source = MIXED if tokens_in or tokens_out else ESTIMATED
        if not tokens_in:
            tokens_in = estimate(request.text_length)
        if self.output_chars > self._output_chars_when_counted and not (ended and tokens_out):
            tokens_out += estimate(self.output_chars - self._output_chars_when_counted)
        return self._counts(tokens_in, tokens_out, source)

    def _counts(self, tokens_in: int, tokens_out: int, source: str) -> Counts:
        """The counts with those of earlier attempts."""
        before = self._earlier_attempts
        if before is None:
            return tokens_in, tokens_out, source, self.cached, self.written, self.reasoning
        sources = {source, before[2]} - {NONE}
        return (
            tokens_in + before[0],
            tokens_out + before[1],
            MIXED if len(sources) > 1 else sources.pop() if sources else NONE,
            self.cached + before[3],
            self.written + before[4],
            self.reasoning + before[5],
        )

    def read_usage(self, counts: Any) -> None:
        """A `usage` object, of either of OpenAI's APIs. Later ones replace earlier ones."""
        if not isinstance(counts, dict):
            return
        tokens_in, tokens_out = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        is_anthropic = not tokens_in and (
            "cache_read_input_tokens" in counts or "cache_creation_input_tokens" in counts
        )
        tokens_in, tokens_out = (
            tokens_in or _count(counts, "input_tokens"),
            tokens_out or _count(counts, "output_tokens"),
        )
        cached, written = _cached(counts)
        reasoning = _count(
            _details(counts, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
        )
        if cached or written or reasoning:
            total, parts = _count(counts, "total_tokens"), cached + written
            if is_anthropic or parts > tokens_in or (parts and total == tokens_in + tokens_out + parts):
                tokens_in += parts
            if reasoning > tokens_out or (reasoning and total == tokens_in + tokens_out + reasoning):
                tokens_out += reasoning
        self._replace(tokens_in, tokens_out, cached, written, reasoning)

    def read_chunk(self, chunk: Mapping[str, Any]) -> bool:
        """One chunk of a stream. Returns whether a choice has a `finish_reason`."""
        finished = False
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    finished = bool(choice.get("finish_reason")) or finished
                    delta = choice.get("delta", choice)
                    if isinstance(delta, dict):
                        self.output_chars += _message_chars(delta)
                    if "usage" in choice:  # Moonshot's place
                        self.read_usage(choice["usage"])
        counts = chunk.get("usage")
        if counts:
            self.read_usage(counts)
        elif "x_groq" in chunk and isinstance(chunk["x_groq"], dict):
            self.read_usage(chunk["x_groq"].get("usage"))
        return finished

    def read_response_event(self, content: Mapping[str, Any]) -> None:
        """One event of the Responses API."""
        delta = content.get("delta")
        if isinstance(delta, str):
            self.output_chars += len(delta)
        response = content.get("response")
        if isinstance(response, dict):
            self.read_usage(response.get("usage"))

    def scan_reply(self, content: bytes) -> int:
        """A whole reply as bytes. The last `usage` counts; within a text its quotes would be escaped.

        Returns the offset of the usage: its end, or its beginning if it is not spelled as usual. Returns 0 if there is none; then
        the reply must be parsed and given to `read_reply`.
        """
        at = content.rfind(b'"usage"')
        usual = _COMMON_USAGE.match(content, at) if at >= 0 else None
        if usual is not None:
            self.tokens_in, self.tokens_out, at = int(usual[1]), int(usual[2]), usual.end()
        elif at >= 0 and (found := _USAGE.match(content, at)) is not None:
            near = content[found.end() : found.end() + _USAGE_BYTES].decode("utf-8", "replace")
            try:
                self.read_usage(_DECODER.raw_decode(near)[0])
            except (ValueError, RecursionError):  # longer than any real usage
                return 0
        return at if self.tokens_in > 0 or self.tokens_out > 0 else 0

    def read_reply(self, content: Any) -> None:
        """A whole reply that has been parsed."""
        if isinstance(content, dict):
            choices = content.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, dict):
                    self.read_usage(choice.get("usage"))
            self.read_usage(content.get("usage"))
            if not self.reported:
                self.output_chars += _reply_chars(content)

    def _replace(self, tokens_in: int, tokens_out: int, cached: int, written: int, reasoning: int) -> None:
        """Store counts, except zeros: chunks of some vendors have zeros until the last one."""
        if tokens_in:
            self.tokens_in = min(tokens_in, MAX_TOKENS)
        if tokens_out:
            self.tokens_out = min(tokens_out, MAX_TOKENS)
            self._output_chars_when_counted = self.output_chars
        if cached or written or reasoning:
            self.cached = min(cached or self.cached, self.tokens_in)
            self.written = min(written or self.written, self.tokens_in)
            self.reasoning = min(reasoning or self.reasoning, self.tokens_out)


def estimate(length: int) -> int:
    """Estimated tokens of a text of so many characters: a quarter."""
    return (length + 1) // 4


def _count(counts: Mapping[str, Any], name: str) -> int:
    """A plausible count, else 0."""
    value = counts.get(name)
    if value is None or value is True or not isinstance(value, (int, float)) or not value > 0:
        return 0
    return int(min(value, MAX_TOKENS))


def _details(counts: Mapping[str, Any], name: str, in_responses: str) -> Mapping[str, Any]:
    details = counts.get(name) or counts.get(in_responses)
    return details if isinstance(details, dict) else {}


def _cached(counts: Mapping[str, Any]) -> tuple[int, int]:
    """(read from a cache, written to it) in the fields of OpenAI, DeepSeek, LiteLLM, Moonshot, Anthropic and Databricks."""
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


def _reply_chars(content: Mapping[str, Any]) -> int:
    choices = content.get("choices")
    total = 0
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message", choice) if isinstance(choice, dict) else None
        if isinstance(message, dict):
            total += _message_chars(message)
    return total


def _message_chars(message: Mapping[str, Any]) -> int:
    """Characters of a message or a part of one: text, reasoning and arguments of tool calls."""
    total = 0
    for name in ("content", "text", "reasoning_content"):
        text = message.get(name)
        if isinstance(text, str):
            total += len(text)
    if "tool_calls" in message:
        calls = message["tool_calls"]
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            total += len(arguments) if isinstance(arguments, str) else 0
    return total
