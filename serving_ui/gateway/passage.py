"""What the caller gets for a provider's answer: the same bytes, or what the provider's file makes of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue.exchange import AnswerUnreadable, Asked, Framing, ProviderFailed, Wire, read_reply
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import EventSplitter, LineSplitter, Splitter
from serving_ui.gateway.streams import NamedStream, PassedStream, Redact, Stream, TranslatedStream
from serving_ui.gateway.tally import Tally
from serving_ui.lib import json_text


def _aws_splitter() -> Splitter:
    splitter: Splitter = import_module("serving_ui.gateway.aws").FrameSplitter()
    return splitter


_SPLITTERS: Mapping[Framing, Callable[[], Splitter]] = {
    Framing.SSE: EventSplitter,
    Framing.AWS: _aws_splitter,  # its module is large, and loaded when a stream needs it
    Framing.LINES: LineSplitter,
}


@dataclass(slots=True)
class Passage:
    """How one answer is passed on. `asked` makes the question that a translated answer belongs to."""

    wire: Wire
    asked: Callable[[], Asked] = field(repr=False)
    redact: Redact = field(repr=False)
    tally: Tally
    shows_usage: bool = False
    named: bool = False
    """Whether it is the Responses API, whose events have names."""

    def stream(self, framing: Framing) -> Stream:
        """What becomes of the provider's events."""
        common: dict[str, Any] = {
            "splitter": _SPLITTERS[framing](),
            "tally": self.tally,
            "redact": self.redact,
            "shows_usage": self.shows_usage,
        }
        if self.named:
            return NamedStream(**common)
        if self.wire.stream is None:
            return PassedStream(**common)
        return TranslatedStream(translator=self.wire.stream(self.asked()), **common)

    def whole(self, content: bytes) -> bytes:
        """What becomes of a whole answer. Raises GatewayError."""
        if self.wire.reply is None:
            return passed(content, self.tally)
        try:
            given = from_json(content)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise _no_object(content)
        try:
            made = read_reply(self.wire, given, self.asked())
        except AnswerUnreadable as problem:
            raise GatewayError(
                500,
                "The provider's answer cannot be understood, because it has not the shape that its documentation promises. "
                "Try again, or tell the person who manages the endpoint.",
            ) from problem
        except ProviderFailed as failure:
            words = self.redact(str(failure).encode())
            raise GatewayError(500, f"The provider failed while answering. It said: {words}") from failure
        self.tally.answer(made)
        return json_text.write(made)


def passed(content: bytes, tally: Tally) -> bytes:
    """An answer that passes through as it is, but for numbers that JSON does not have."""
    if not _is_object(content):
        raise _no_object(content)
    tally.whole(content)
    return json_text.without_infinity(content)


def _is_object(content: bytes) -> bool:
    """Cheap: a body that HTTP says is whole, and that begins and ends as an object does, is not parsed again."""
    if not (content[:1] == b"{" and content[-1:] == b"}"):
        content = content.strip()
    return content[:1] == b"{" and content[-1:] == b"}"


def _no_object(content: bytes) -> GatewayError:
    if (
        content.lstrip()[:1] == b"{"
    ):  # its end is missing: a wrong length, or a connection that ended before it was said
        return GatewayError(503, "The provider's answer ended before it was complete. Try again.")
    return GatewayError(
        400,
        "The provider's answer is not a JSON object. "
        "The person who manages the endpoint must check the address that it leads to.",
    )
