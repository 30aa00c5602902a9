"""What becomes of a provider's stream: bytes as they come → the events that the caller gets. Pure.

Stream
├── PassedStream       the provider speaks the OpenAI wire: its events go on as they are
├── TranslatedStream   another wire: a translator of the provider's file makes OpenAI-shaped chunks
└── NamedStream        the Responses API: named events go on as they are, and the provider's own last one is the last

A stream ends in one of two ways: `over`, when the provider has said that the answer is whole, or with an `error`. An event that tells
of a failure is an error of the kind that it tells of (`fail`).
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
from serving_ui.gateway.sse import DONE, Frame, Splitter, event, tells_failure
from serving_ui.gateway.token_counter import TokenCounter
from serving_ui.lib import json_text

GARBLED = "The provider sent an event that cannot be understood, so its answer is not complete. Try again."
_SHORT = "The provider's stream ended before the answer was complete. Try again."
_LAST = event(DONE)
_MOST_HELD = 64 * 1024
"""Bytes."""


class Stream(ABC):
    """`take` what arrives, `close` at its end; both give what may be sent on. `last` is what is sent when it is `over`."""

    last = _LAST
    is_loose = False

    def __init__(
        self, *, splitter: Splitter, counter: TokenCounter, fail: ToError, shows_usage: bool
    ) -> None:
        self._splitter = splitter
        self._counter = counter
        self._fail = fail
        self._shows_usage = shows_usage
        self.over = False
        self.error: GatewayError | None = None

    def pop_error(self) -> GatewayError:
        """The error, once: what is raised knows whoever raises it, and would be kept by what it keeps."""
        error, self.error = self.error, None
        return error or GatewayError(503, _SHORT)

    def take(self, portion: bytes) -> bytes:
        """The events that have become whole, ready to send."""
        try:
            frames = self._splitter.feed(portion)
        except ValueError:
            self.error = GatewayError(503, GARBLED)
            return b""
        return self._passed(frames)

    def close(self) -> bytes:
        """The provider has ended the message."""
        try:
            frames = self._splitter.finish()
        except ValueError:
            if not self._is_whole():
                self.error = GatewayError(503, GARBLED)
            frames = []
        ready = self._passed(frames)
        if not self.over and self.error is None:
            if self._is_whole():
                self.over = True
            else:
                self.error = GatewayError(503, _SHORT)
        return ready

    def _passed(self, frames: list[Frame]) -> bytes:
        ready: list[bytes] = []
        for name, data in frames:
            if data.strip() == DONE and not tells_failure(name):
                self._on_done()
            else:
                self._take(name, data, ready)
            if self.over or self.error is not None:
                break
        return b"".join(ready)

    def _take(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        content = read_json(data, loosely=self.is_loose)
        kind = name.decode("latin-1") if name else ""
        failed = provider_errors.error_in_event(
            content if content is not None else data.decode(errors="replace"), kind
        )
        if failed is not None:
            self._report(failed, content)
        elif not isinstance(content, dict):
            self.error = GatewayError(503, GARBLED)
        else:
            self._pass(kind, data, content, ready)

    def _report(self, failed: ProviderError, content: Any) -> None:
        """The provider has told of a failure."""
        if isinstance(content, dict):
            self._counter.usage(content.get("usage"))
        self.error = self._fail(failed)

    @abstractmethod
    def _on_done(self) -> None:
        """The provider has sent [DONE]: set `over` or `error`, or neither when that means nothing."""

    @abstractmethod
    def _pass(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        """One event: add to `ready` what it becomes, or set `over` or `error`."""

    @abstractmethod
    def _is_whole(self) -> bool:
        """Whether the provider has said so, though it did not end its stream in the usual way."""


class PassedStream(Stream):
    """OpenAI-shaped chunks. Without [DONE] it is whole only if a choice said why it ended.

    What comes before the first choice (Azure's look at the prompt) is held back, so that a failure after it can still be anybody's turn.
    """

    is_loose = True
    _finished = _has_begun = False

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self._held: list[bytes] = []

    def _on_done(self) -> None:
        if self._has_begun:
            self.over = True
        else:
            self.error = GatewayError(503, _SHORT)

    def _pass(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        self._finished = self._counter.chunk(content) or self._finished
        if not content.get("choices"):
            self._pass_without_choice(data, content, ready)
            return
        self._has_begun = True
        if self._held:
            self._release(ready)
        ready.append(event(_as_it_came(data)))

    def _pass_without_choice(self, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        if provider_errors.has_output(content):  # of another shape
            self._has_begun = True
        elif not content.get("usage") and (failed := provider_errors.error_in_response(content)) is not None:
            self._report(failed, content)
            return
        if self._shows_usage or not only_usage(content):
            self._held.append(event(_as_it_came(data)))
        if self._has_begun or sum(map(len, self._held)) > _MOST_HELD:
            self._release(ready)

    def _release(self, ready: list[bytes]) -> None:
        ready += self._held
        self._held = []

    def _is_whole(self) -> bool:
        return self._finished


class TranslatedStream(Stream):
    """A provider's own events, translated."""

    def __init__(self, *, translator: StreamTranslator, **common: Any) -> None:
        super().__init__(**common)
        self._translator = translator
        self._counts: Json | None = None

    def _on_done(self) -> None:
        if self._translator.finished:
            self.over = True
        else:
            self.error = GatewayError(503, _SHORT)

    def _pass(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        chunks: list[Json] = []
        try:
            chunks = translate_event(self._translator, StreamEvent(name, content))
        except MalformedResponse:
            self.error = GatewayError(503, GARBLED)
        except ProviderError as failed:
            self._report(failed, None)
        for chunk in chunks:
            self._counter.chunk(chunk)
            is_last = only_usage(chunk)
            if self._shows_usage or not is_last:
                ready.append(event(json_text.write(chunk)))
            if is_last and self._translator.finished:  # whether or not the provider closes its stream
                self.over = True
        if self._translator.counts is not self._counts:  # told by the way, and to nobody but the counter
            self._counts = self._translator.counts
            self._counter.usage(self._counts)

    def _is_whole(self) -> bool:
        return self._translator.finished


class NamedStream(Stream):
    """Events of the Responses API. The names are in the data as well, so a stream without names is understood, too."""

    is_loose = True
    last = b""
    _LAST_ONES = frozenset({"response.completed", "response.incomplete"})

    def _on_done(self) -> None:
        """Some servers add it; the API has no such event."""

    def _pass(self, name: str, data: bytes, content: dict[str, Any], ready: list[bytes]) -> None:
        if "type" not in content and (failed := provider_errors.error_in_response(content)) is not None:
            self._report(failed, content)
            return
        self._counter.response_event(content)
        ready.append(event(_as_it_came(data), name.encode("latin-1")))
        self.over = content.get("type") in self._LAST_ONES

    def _report(self, failed: ProviderError, content: Any) -> None:
        """`response.failed` is the API's own last event, so the caller gets that, with the error's words in place of the provider's."""
        self.error = error = self._fail(failed)
        response = content.get("response") if isinstance(content, dict) else None
        if isinstance(response, dict):
            self._counter.usage(response.get("usage"))
            told = response.get("error")
            said = {
                "code": "server_error",
                **(told if isinstance(told, dict) else {}),
                "message": error.message,
            }
            changed = {**content, "response": {**response, "error": said}}
            error.event = event(json_text.write(changed), b"response.failed")

    def _is_whole(self) -> bool:
        return False


def _as_it_came(data: bytes) -> bytes:
    """An event's data in one line, without numbers that JSON does not have."""
    return json_text.without_infinity(data).replace(b"\n", b" ")


def only_usage(chunk: dict[str, Any]) -> bool:
    """Whether this is the chunk that comes only to those who ask for it."""
    return bool(chunk.get("usage")) and not chunk.get("choices")


def read_json(data: bytes, *, loosely: bool = False) -> Any:
    """What it says; None when it cannot be read. What is passed on as it came may hold halves of surrogate pairs: some servers cut a
    text there, and clients join it again."""
    try:
        return from_json(data)
    except ValueError:
        return _read_loosely(data) if loosely else None


def _read_loosely(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
