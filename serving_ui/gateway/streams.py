"""What becomes of a provider's stream: bytes as they come → the events that the caller gets. Pure.

Stream
├── PassedStream       the provider speaks the OpenAI wire: its events go on as they are
├── TranslatedStream   another wire: a translator of the provider's file makes OpenAI-shaped chunks
└── NamedStream        the Responses API: named events go on as they are, and the provider's own last one is the last

A stream ends in one of two ways: `over`, when the provider has said that the answer is whole, or with an `error`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue.exchange import AnswerUnreadable, Event, ProviderFailed, Translator, read_event
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import DONE, Frame, Splitter, event
from serving_ui.gateway.tally import Tally
from serving_ui.lib import json_text

Redact = Callable[[bytes], str]
GARBLED = "The provider sent an event that cannot be understood, so its answer is not complete. Try again."
_SHORT = "The provider's stream ended before the answer was complete. Try again."
_LAST = event(DONE)


class Stream(ABC):
    """`take` what arrives, `close` at its end; both give what may be sent on. `last` is what is sent when it is `over`."""

    last = _LAST

    def __init__(self, *, splitter: Splitter, tally: Tally, redact: Redact, shows_usage: bool) -> None:
        self._splitter = splitter
        self._tally = tally
        self._redact = redact
        self._shows_usage = shows_usage
        self.over = False
        self.error: GatewayError | None = None

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
            self._pass(name, data, ready)
            if self.over or self.error is not None:
                break
        return b"".join(ready)

    @abstractmethod
    def _pass(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        """One event: add to `ready` what it becomes, or set `over` or `error`."""

    @abstractmethod
    def _is_whole(self) -> bool:
        """Whether the provider has said so, though it did not end its stream in the usual way."""

    def _fail(self, words: bytes) -> None:
        self.error = GatewayError(500, f"The provider failed while answering. It said: {self._redact(words)}")


class PassedStream(Stream):
    """OpenAI-shaped chunks. Without [DONE] it is whole only if a choice said why it ended."""

    _finished = False

    def _pass(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        if data.strip() == DONE:
            self.over = True
            return
        content = _object(data, loosely=True)
        if content is None:
            self.error = GatewayError(503, GARBLED)
        elif content.get("error"):
            self._fail(data)
        else:
            self._finished = self._tally.chunk(content) or self._finished
            if self._shows_usage or not only_usage(content):
                ready.append(event(_as_it_came(data)))

    def _is_whole(self) -> bool:
        return self._finished


class TranslatedStream(Stream):
    """A provider's own events, translated."""

    def __init__(self, *, translator: Translator, **common: Any) -> None:
        super().__init__(**common)
        self._translator = translator

    def _pass(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        if data.strip() == DONE:
            self._end()
            return
        content = _object(data)
        if content is None:
            self.error = GatewayError(503, GARBLED)
            return
        try:
            chunks = read_event(self._translator, Event(name.decode("latin-1"), content))
        except AnswerUnreadable:
            self.error = GatewayError(503, GARBLED)
            return
        except ProviderFailed as failure:
            self._fail(str(failure).encode())
            return
        for chunk in chunks:
            self._tally.chunk(chunk)
            is_last = only_usage(chunk)
            if self._shows_usage or not is_last:
                ready.append(event(json_text.write(chunk)))
            if is_last and self._translator.finished:  # whether or not the provider closes its stream
                self.over = True

    def _end(self) -> None:
        if self._translator.finished:
            self.over = True
        else:
            self.error = GatewayError(503, _SHORT)

    def _is_whole(self) -> bool:
        return self._translator.finished


class NamedStream(Stream):
    """Events of the Responses API. The names are in the data as well, so a stream without names is understood, too."""

    last = b""
    _LAST_ONES = frozenset({"response.completed", "response.incomplete", "response.failed"})

    def _pass(self, name: bytes, data: bytes, ready: list[bytes]) -> None:
        if data.strip() == DONE:  # some servers add it; the API has no such event
            return
        content = _object(data, loosely=True)
        if content is None:
            self.error = GatewayError(503, GARBLED)
            return
        kind = content.get("type")
        if kind == "error" or content.get("error"):
            self._fail(data)
            return
        self._tally.response_event(content)
        ready.append(event(_as_it_came(data), name))
        self.over = kind in self._LAST_ONES

    def _is_whole(self) -> bool:
        return False


def _as_it_came(data: bytes) -> bytes:
    """An event's data in one line, without numbers that JSON does not have."""
    return json_text.without_infinity(data).replace(b"\n", b" ")


def only_usage(chunk: dict[str, Any]) -> bool:
    """Whether this is the chunk that comes only to those who ask for it."""
    return bool(chunk.get("usage")) and not chunk.get("choices")


def _object(data: bytes, *, loosely: bool = False) -> dict[str, Any] | None:
    """What is passed on as it came may hold halves of surrogate pairs: some servers cut a text there, and clients join it again."""
    try:
        content = from_json(data)
    except ValueError:
        content = _read_loosely(data) if loosely else None
    return content if isinstance(content, dict) else None


def _read_loosely(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
