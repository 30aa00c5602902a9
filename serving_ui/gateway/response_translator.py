"""What the caller gets for a provider's answer: the same bytes, or what the provider's file makes of them. Pure.

A failure that the answer itself tells of becomes the error that its status would have been (`fail`). What cannot be read at all is the
provider's fault: 500, of which MLflow's client asks again and Databricks' does not, and whose sentence both show. A 503 would be
repeated by both for minutes and end as a timeout without a word; it is for what has probably gone by the next try, an answer that
was cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue import provider_errors
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.wire_format import (
    Framing,
    MalformedResponse,
    RequestContext,
    WireFormat,
    translate_response,
)
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.reported_failure import ToError
from serving_ui.gateway.sse import EventSplitter, LineSplitter, Splitter
from serving_ui.gateway.streams import NamedStream, PassedStream, Stream, TranslatedStream, read_json
from serving_ui.gateway.token_counter import TokenCounter
from serving_ui.lib import json_text

# An error that is not null, or the word as a value: `"object": "error"`.
_ERROR = re.compile(rb'"error"\s*+(?!:\s*+null)')
# What an answer of each task and of the Responses API has, with something in it; a text that speaks of it has its quotes escaped.
_CONTENT = re.compile(rb'"(choices|data|output)"\s*+:\s*+\[\s*+[^\]\s]')
# The last counts, and after them the end of the object or another name.
_AFTER_USAGE = re.compile(rb'"usage"\s*+:\s*+\{[^{}]*+(?:\{[^{}]*+\}[^{}]*+)*+\}\s*+(?:,\s*+"|\}\s*+\Z)')
_OPENING, _CLOSING = b"{}"
_END = 4096
_LONG = 16_384


def _aws_splitter() -> Splitter:
    splitter: Splitter = import_module("serving_ui.gateway.aws").FrameSplitter()
    return splitter


_SPLITTERS: Mapping[Framing, Callable[[], Splitter]] = {
    Framing.SSE: EventSplitter,
    Framing.AWS: _aws_splitter,  # its module is large, and loaded when a stream needs it
    Framing.LINES: LineSplitter,
}


@dataclass(slots=True)
class ResponseTranslator:
    """How one answer is passed on. `asked` makes the request that a translated answer belongs to."""

    wire: WireFormat
    asked: Callable[[], RequestContext] = field(repr=False)
    fail: ToError = field(repr=False)
    counter: TokenCounter
    shows_usage: bool = False
    named: bool = False
    """Whether it is the Responses API, whose events have names."""

    def stream(self, framing: Framing) -> Stream:
        """What becomes of the provider's events."""
        common: dict[str, Any] = {
            "splitter": _SPLITTERS[framing](),
            "counter": self.counter,
            "fail": self.fail,
            "shows_usage": self.shows_usage,
        }
        if self.named:
            return NamedStream(**common)
        if self.wire.stream_translator is None:
            return PassedStream(**common)
        return TranslatedStream(translator=self.wire.stream_translator(self.asked()), **common)

    def whole(self, content: bytes) -> bytes:
        """What becomes of a whole answer. Raises GatewayError."""
        if self.wire.translate_response is None:
            return passed(content, self.counter, self.fail)
        given = _read(read_json(content), content, self.fail)
        try:
            made = translate_response(self.wire, given, self.asked())
        except MalformedResponse as problem:
            raise GatewayError(
                500,
                "The provider's answer cannot be understood, because it has not the shape that its documentation promises. "
                "Try again, or tell the person who manages the endpoint.",
            ) from problem
        except ProviderError as failed:
            self.counter.usage(failed.counts)
            raise self.fail(failed) from failed
        self.counter.answer(made)
        return json_text.write(made)


def passed(content: bytes, counter: TokenCounter, fail: ToError, *, may_be_cut: bool = False) -> bytes:
    """An answer that passes through as it is, but for numbers that JSON does not have.

    It is parsed only when it has no counts where they usually are, may tell of a failure, or may be none.
    `may_be_cut`: its end was that of the connection, so HTTP does not say that it is whole.
    """
    counted = counter.whole(content)
    if not counted or may_be_cut or not _is_usual(content, counted):
        given = _read(read_json(content, loosely=True), content, fail)
        if not provider_errors.has_output(given):
            raise _empty()
        counter.answer(given)
    return json_text.without_infinity(content)


def _is_usual(content: bytes, counted: int) -> bool:
    """Cheap: an object by its first and last sign, with an answer in it, sound around its counts, and without an error.

    `counted` is where its counts are, as `TokenCounter.whole` says.
    """
    size = len(content)
    if not (content[0] == _OPENING and content[-1] == _CLOSING):
        stripped = content.strip()
        if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
            return False
    is_last = counted == size - 1 and content[-1] == _CLOSING  # only the end of the object is left, as mostly
    if not is_last and _AFTER_USAGE.match(content, content.rfind(b'"usage"')) is None:
        return False
    # To look for a text first is cheap, and a search for an expression is not.
    at = content.find(b'"choices"')
    found = (at >= 0 and _CONTENT.match(content, at)) or _CONTENT.search(content)
    if not found:
        return False
    if size > _LONG and found[1] == b"data":  # a megabyte of numbers has its errors around it
        return _ERROR.search(content, 0, _END) is None and _ERROR.search(content, size - _END) is None
    return content.find(b'"error"') < 0 or _ERROR.search(content) is None


def _read(given: Any, content: bytes, fail: ToError) -> dict[str, Any]:
    """The object that an answer is. Raises GatewayError when it is none, or tells of a failure."""
    failed = provider_errors.error_in_response(given)
    if failed is not None:
        raise fail(failed)
    if not isinstance(given, dict):
        raise _unreadable(content)
    return given


def _unreadable(content: bytes) -> GatewayError:
    beginning = content[:_END].strip()
    what = "is empty" if not beginning else "is a web page" if beginning[:1] == b"<" else "is no JSON object"
    if beginning[:1] == b"{":
        if _is_cut(content):  # a wrong length, or a connection that ended before it was said
            return GatewayError(503, "The provider's answer ended before it was complete. Try again.")
        what = "is no valid JSON"
    return GatewayError(
        500,
        f"The provider's answer cannot be read: it {what}. "
        "The person who manages the endpoint must check the address that it leads to.",
    )


def _is_cut(content: bytes) -> bool:
    """Whether it is only the beginning of a JSON text."""
    try:
        from_json(content)
    except ValueError as problem:
        return str(problem).startswith("EOF ")
    return False


def _empty() -> GatewayError:
    return GatewayError(
        500,
        "The provider's answer holds nothing that answers the question. Try again, or tell the person who manages the endpoint.",
    )
