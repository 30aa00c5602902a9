"""What the caller gets for a provider's reply: the same bytes, or their translation by the provider's wire format. Pure.

A failure that the reply itself reports becomes the error that its status would have been (`fail`). An unreadable reply is a 500:
MLflow's client retries it, Databricks' does not, and both show its message. Both would retry a 503 for minutes and then show a
timeout without the message, so 503 is only for a reply that was cut, which is probably complete at the next attempt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue import provider_errors
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.wire_format import (
    Framing,
    MalformedResponse,
    RequestContext,
    WireFormat,
    to_openai_response,
)
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.reported_failure import ToError
from serving_ui.gateway.sse import EventSplitter, LineSplitter, Splitter
from serving_ui.gateway.streams import PassthroughStream, ResponsesStream, Stream, TranslatedStream, read_json
from serving_ui.gateway.token_counter import TokenCounter
from serving_ui.lib import json_text

# A key "error" that is not null, or the value "error" as in `"object": "error"`.
_ERROR = re.compile(rb'"error"\s*+(?!:\s*+null)')
# The non-empty list that an answer of each task and of the Responses API has. Within a text its quotes would be escaped.
_CONTENT = re.compile(rb'"(choices|data|output)"\s*+:\s*+\[\s*+[^\]\s]')
# The last usage, followed by the end of the object or another key.
_AFTER_USAGE = re.compile(rb'"usage"\s*+:\s*+\{[^{}]*+(?:\{[^{}]*+\}[^{}]*+)*+\}\s*+(?:,\s*+"|\}\s*+\Z)')
_OPENING_BRACE, _CLOSING_BRACE = b"{}"
_EDGE_BYTES = 4096
_LONG_BYTES = 16_384


def _aws_splitter() -> Splitter:
    from serving_ui.gateway.aws_event_stream import FrameSplitter  # noqa: PLC0415 - only AWS needs its megabytes

    return FrameSplitter()


_SPLITTERS: Mapping[Framing, Callable[[], Splitter]] = {
    Framing.SSE: EventSplitter,
    Framing.AWS: _aws_splitter,  # its module is large, and loaded when a stream needs it
    Framing.LINES: LineSplitter,
}


@dataclass(slots=True)
class ResponseTranslator:
    """Translates one reply, as a whole or as a stream. `request_context` describes the request, for formats that are translated."""

    wire_format: WireFormat
    request_context: Callable[[], RequestContext] = field(repr=False)
    fail: ToError = field(repr=False)
    counter: TokenCounter
    shows_usage: bool = False
    is_response: bool = False
    """Whether the reply is one of the Responses API, whose events have names."""

    def open_stream(self, framing: Framing) -> Stream:
        """The converter of the provider's events."""
        common: dict[str, Any] = {
            "splitter": _SPLITTERS[framing](),
            "counter": self.counter,
            "fail": self.fail,
            "shows_usage": self.shows_usage,
        }
        if self.is_response:
            return ResponsesStream(**common)
        if self.wire_format.stream_translator is None:
            return PassthroughStream(**common)
        return TranslatedStream(
            translator=self.wire_format.stream_translator(self.request_context()), **common
        )

    def translate(self, content: bytes) -> bytes:
        """The answer to a whole reply. Raises GatewayError."""
        if self.wire_format.translate_response is None:
            return pass_through(content, self.counter, self.fail)
        response = _checked(read_json(content), content, self.fail)
        try:
            answer = to_openai_response(self.wire_format, response, self.request_context())
        except MalformedResponse as problem:
            raise GatewayError(
                500,
                "The provider's answer cannot be understood, because it does not have the documented format. "
                "Try again, or tell the person who manages the endpoint.",
            ) from problem
        except ProviderError as failed:
            self.counter.read_usage(failed.counts)
            raise self.fail(failed) from failed
        self.counter.read_reply(answer)
        return json_text.write(answer)


def pass_through(content: bytes, counter: TokenCounter, fail: ToError, *, may_be_cut: bool = False) -> bytes:
    """A reply in OpenAI's format, unchanged except for numbers that JSON does not have (NaN, Infinity). Raises GatewayError.

    Parsing is slow, so it is done only if `_is_plain` cannot show by a few searches that the reply has an answer and no failure.
    `may_be_cut`: the connection ended with the body, so HTTP does not say whether it is complete.
    """
    usage_offset = counter.scan_reply(content)
    if not usage_offset or may_be_cut or not _is_plain(content, usage_offset):
        response = _checked(read_json(content, accept_lone_surrogates=True), content, fail)
        if not provider_errors.has_output(response):
            raise _empty()
        counter.read_reply(response)
    return json_text.without_infinity(content)


def any_json(content: bytes) -> bytes:
    """The answer of an own model, unchanged: the gateway knows no format of it. Raises GatewayError unless it is JSON."""
    if read_json(content, accept_lone_surrogates=True) is None and content.strip() != b"null":
        raise _unreadable(content)
    return json_text.without_infinity(content)


def _is_plain(content: bytes, usage_offset: int) -> bool:
    """Whether the bytes begin and end as a JSON object, contain an answer, are well-formed around the usage, and have no error.

    `usage_offset` is what `TokenCounter.scan_reply` has returned.
    """
    size = len(content)
    if not (content[0] == _OPENING_BRACE and content[-1] == _CLOSING_BRACE):
        stripped = content.strip()
        if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
            return False
    is_last = usage_offset == size - 1 and content[-1] == _CLOSING_BRACE  # the usual case
    if not is_last and _AFTER_USAGE.match(content, content.rfind(b'"usage"')) is None:
        return False
    # bytes.find is fast, a regular expression's search is not.
    at = content.find(b'"choices"')
    found = (at >= 0 and _CONTENT.match(content, at)) or _CONTENT.search(content)
    if not found:
        return False
    if (
        size > _LONG_BYTES and found[1] == b"data"
    ):  # in a megabyte of numbers only the edges can hold an error
        return (
            _ERROR.search(content, 0, _EDGE_BYTES) is None
            and _ERROR.search(content, size - _EDGE_BYTES) is None
        )
    return content.find(b'"error"') < 0 or _ERROR.search(content) is None


def _checked(response: Any, content: bytes, fail: ToError) -> dict[str, Any]:
    """The reply if it is an object without a failure. Raises GatewayError otherwise."""
    failed = provider_errors.error_in_response(response)
    if failed is not None:
        raise fail(failed)
    if not isinstance(response, dict):
        raise _unreadable(content)
    return response


def _unreadable(content: bytes) -> GatewayError:
    beginning = content[:_EDGE_BYTES].strip()
    what = "is empty" if not beginning else "is a web page" if beginning[:1] == b"<" else "is no JSON object"
    if beginning[:1] == b"{":
        if _is_cut(content):  # a wrong content-length, or a lost connection
            return GatewayError(503, "The provider's answer ended before it was complete. Try again.")
        what = "is no valid JSON"
    return GatewayError(
        500,
        f"The provider's answer cannot be read: it {what}. "
        "The person who manages the endpoint must check the provider's address in its config.",
    )


def _is_cut(content: bytes) -> bool:
    """Whether the content is the beginning of a JSON text."""
    try:
        from_json(content)
    except ValueError as problem:
        return str(problem).startswith("EOF ")
    return False


def _empty() -> GatewayError:
    return GatewayError(
        500,
        "The provider's answer contains no output of the model. Try again, or tell the person who manages the endpoint.",
    )
