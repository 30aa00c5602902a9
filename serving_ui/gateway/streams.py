"""Converts a provider's stream, bytes as they arrive, into the events that the caller gets. Pure.

Stream
├── PassthroughStream   OpenAI's format: events are passed on unchanged
├── TranslatedStream    another format: the provider's Translator makes OpenAI's chunks
└── ResponsesStream     the Responses API: named events are passed on unchanged, up to the API's own last event

A stream ends in one of two ways: `is_over`, when the provider has said that the answer is complete, or with an `error`. An event
that reports a failure becomes the error that its HTTP status would have been (`fail`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue import provider_errors
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.wire_format import (
    Json,
    MalformedResponse,
    StreamEvent,
    StreamTranslator,
    translate_event,
)
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.reported_failure import ToError
from serving_ui.gateway.sse import DONE, Frame, Splitter, event, is_failure_name
from serving_ui.gateway.token_counter import TokenCounter
from serving_ui.lib import json_text

MALFORMED = "The provider sent an event that cannot be understood, so its answer is not complete. Try again."
_ENDED_EARLY = "The provider's stream ended before the answer was complete. Try again."
_DONE_EVENT = event(DONE)
_MAX_HELD_BYTES = 64 * 1024


class Stream(ABC):
    """`feed` each portion, `finish` at the end; both return what to send. After `is_over` send `terminator`, too."""

    terminator = _DONE_EVENT
    accepts_lone_surrogates = False

    def __init__(
        self, *, splitter: Splitter, counter: TokenCounter, fail: ToError, shows_usage: bool
    ) -> None:
        self._splitter = splitter
        self._counter = counter
        self._fail = fail
        self._shows_usage = shows_usage
        self.is_over = False
        self.error: GatewayError | None = None

    def pop_error(self) -> GatewayError:
        """The error, removed from here: a raised exception refers to its frames, and these to this stream (a reference cycle)."""
        error, self.error = self.error, None
        return error or GatewayError(503, _ENDED_EARLY)

    def feed(self, portion: bytes) -> bytes:
        """What to send for the events that this portion completes."""
        try:
            frames = self._splitter.feed(portion)
        except ValueError:
            self.error = GatewayError(503, MALFORMED)
            return b""
        return self._convert(frames)

    def finish(self) -> bytes:
        """The provider has ended the body. Sets `is_over` or `error`."""
        try:
            frames = self._splitter.finish()
        except ValueError:
            if not self._is_complete():
                self.error = GatewayError(503, MALFORMED)
            frames = []
        ready = self._convert(frames)
        if not self.is_over and self.error is None:
            if self._is_complete():
                self.is_over = True
            else:
                self.error = GatewayError(503, _ENDED_EARLY)
        return ready

    def _convert(self, frames: list[Frame]) -> bytes:
        ready: list[bytes] = []
        for name, data in frames:
            if data.strip() == DONE and not is_failure_name(name):
                self._on_done()
            else:
                self._on_event(name, data, ready)
            if self.is_over or self.error is not None:
                break
        return b"".join(ready)

    def _on_event(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        content = read_json(data, accept_lone_surrogates=self.accepts_lone_surrogates)
        kind = name.decode("latin-1") if name else ""
        failed = provider_errors.error_in_event(
            content if content is not None else data.decode(errors="replace"), kind
        )
        if failed is not None:
            self._on_failure(failed, content)
        elif not isinstance(content, dict):
            self.error = GatewayError(503, MALFORMED)
        else:
            self._on_content(kind, data, content, ready)

    def _on_failure(self, failed: ProviderError, content: Any) -> None:
        """The provider has reported a failure."""
        if isinstance(content, dict):
            self._counter.read_usage(content.get("usage"))
        self.error = self._fail(failed)

    @abstractmethod
    def _on_done(self) -> None:
        """The provider has sent [DONE]: set `is_over` or `error`, or neither where it has no meaning."""

    @abstractmethod
    def _on_content(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        """One event: append to `ready` what to send for it, or set `is_over` or `error`."""

    @abstractmethod
    def _is_complete(self) -> bool:
        """Whether the answer is complete although the stream ended without [DONE]."""


class PassthroughStream(Stream):
    """OpenAI's chunks. Without [DONE] the answer is complete only if a choice had a `finish_reason`.

    Chunks before the first choice (Azure's filter results of the prompt) are held back, so that after a failure a fallback is possible.
    """

    accepts_lone_surrogates = True
    _finished = _has_begun = False

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self._held: list[bytes] = []

    def _on_done(self) -> None:
        if self._has_begun:
            self.is_over = True
        else:
            self.error = GatewayError(503, _ENDED_EARLY)

    def _on_content(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        self._finished = self._counter.read_chunk(content) or self._finished
        if not content.get("choices"):
            self._on_content_without_choice(data, content, ready)
            return
        self._has_begun = True
        if self._held:
            self._release(ready)
        ready.append(event(_single_line(data)))

    def _on_content_without_choice(self, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        if provider_errors.has_output(content):  # an answer of another shape
            self._has_begun = True
        elif not content.get("usage") and (failed := provider_errors.error_in_response(content)) is not None:
            self._on_failure(failed, content)
            return
        if self._shows_usage or not only_usage(content):
            self._held.append(event(_single_line(data)))
        if self._has_begun or sum(map(len, self._held)) > _MAX_HELD_BYTES:
            self._release(ready)

    def _release(self, ready: list[bytes]) -> None:
        ready += self._held
        self._held = []

    def _is_complete(self) -> bool:
        return self._finished


class TranslatedStream(Stream):
    """A provider's own events, translated into OpenAI's chunks."""

    def __init__(self, *, translator: StreamTranslator, **common: Any) -> None:
        super().__init__(**common)
        self._translator = translator
        self._counts: Json | None = None

    def _on_done(self) -> None:
        if self._translator.finished:
            self.is_over = True
        else:
            self.error = GatewayError(503, _ENDED_EARLY)

    def _on_content(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        chunks: list[Json] = []
        try:
            chunks = translate_event(self._translator, StreamEvent(name, content))
        except MalformedResponse:
            self.error = GatewayError(503, MALFORMED)
        except ProviderError as failed:
            self._on_failure(failed, None)
        for chunk in chunks:
            self._counter.read_chunk(chunk)
            is_last = only_usage(chunk)
            if self._shows_usage or not is_last:
                ready.append(event(json_text.write(chunk)))
            if is_last and self._translator.finished:  # the provider may not close its stream
                self.is_over = True
        if self._translator.counts is not self._counts:  # usage that no chunk contains
            self._counts = self._translator.counts
            self._counter.read_usage(self._counts)

    def _is_complete(self) -> bool:
        return self._translator.finished


class ResponsesStream(Stream):
    """Events of the Responses API. Their names are in the data, too, so a stream without names is accepted."""

    accepts_lone_surrogates = True
    terminator = b""
    _FINAL_EVENTS = frozenset({"response.completed", "response.incomplete"})

    def _on_done(self) -> None:
        """Some servers add it, although the API has no such event."""

    def _on_content(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        if "type" not in content and (failed := provider_errors.error_in_response(content)) is not None:
            self._on_failure(failed, content)
            return
        self._counter.read_response_event(content)
        ready.append(event(_single_line(data), name.encode("latin-1")))
        self.is_over = content.get("type") in self._FINAL_EVENTS

    def _on_failure(self, failed: ProviderError, content: Any) -> None:
        """Passes `response.failed`, the API's own last event, on to the caller, with our message in place of the provider's."""
        self.error = error = self._fail(failed)
        response = content.get("response") if isinstance(content, dict) else None
        if isinstance(response, dict):
            self._counter.read_usage(response.get("usage"))
            provider_error = response.get("error")
            public_error = {
                "code": "server_error",
                **(provider_error if isinstance(provider_error, dict) else {}),
                "message": error.message,
            }
            changed = {**content, "response": {**response, "error": public_error}}
            error.event = event(json_text.write(changed), b"response.failed")

    def _is_complete(self) -> bool:
        return False


def _single_line(data: bytes) -> bytes:
    """An event's data without line breaks and without numbers that JSON does not have."""
    return json_text.without_infinity(data).replace(b"\n", b" ")


def only_usage(chunk: dict[str, Any]) -> bool:
    """Whether this is the chunk that only callers with `stream_options.include_usage` get."""
    return bool(chunk.get("usage")) and not chunk.get("choices")


def read_json(data: bytes, *, accept_lone_surrogates: bool = False) -> Any:
    """The parsed JSON; None if it is invalid. Lone surrogates are accepted for data that is passed on unchanged, because some servers
    split a text within a surrogate pair, and clients join it again."""
    try:
        return from_json(data)
    except ValueError:
        return _read_with_lone_surrogates(data) if accept_lone_surrogates else None


def _read_with_lone_surrogates(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
