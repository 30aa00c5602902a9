"""The types for the translation of requests and responses, which providers' files implement and the gateway uses.

No I/O: the gateway splits a stream into events, and passes id and time in the RequestContext.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from serving_ui.catalogue.upstream import Addresses, UpstreamRequest

Json = dict[str, Any]

Build = Callable[[Json, Any, str, Addresses], UpstreamRequest]
"""(body in OpenAI's format, config with plaintext secrets, model, addresses) -> request. Raises UnsupportedRequest, SecretUnusable."""


class MalformedResponse(Exception):
    """The response is not in the format that the provider documents."""


class Framing(StrEnum):
    """How a stream is split into events; the value is its content type."""

    SSE = "text/event-stream"
    AWS = "application/vnd.amazon.eventstream"
    LINES = "application/stream+json"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that a response belongs to. `id` and `created` (Unix seconds) are used if the response has none."""

    body: Mapping[str, Any] = field(repr=False)
    model: str
    id: str
    created: int


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a provider's stream. `name` is the event's type where the framing has one, else empty."""

    name: str
    data: Json


class StreamTranslator(Protocol):
    """Translates one stream into chunks in OpenAI's format. Each stream has its own instance.

    `finished` becomes true when the provider has sent its end; a stream that is closed before that is truncated.
    The last chunk has empty `choices` and the `usage`, if the provider sends it; the gateway forwards it to callers who requested it.
    `counts` is the usage known so far, without the counts that are not known yet. It is needed for truncated streams.
    """

    finished: bool

    @property
    def counts(self) -> Json | None: ...

    def take(self, event: StreamEvent) -> list[Json]:
        """The chunks for this event. Raises ProviderError or MalformedResponse."""
        ...


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """The wire format of one task. Without `translate_response` and `stream_translator` responses pass through: they are in OpenAI's format."""

    build_request: Build
    translate_response: Callable[[Json, RequestContext], Json] | None = None
    """(the provider's whole response, context) -> response in OpenAI's format. Raises ProviderError or MalformedResponse."""
    stream_translator: Callable[[RequestContext], StreamTranslator] | None = None
    framing: Framing = Framing.SSE
    legacy_framing: Framing | None = None
    """The framing of a legacy address that serves some models of the task."""

    def framing_of(self, content_type: str) -> Framing | None:
        """The framing of a response with this content type; None if it is no stream in this format."""
        kind = content_type.partition(";")[0].strip().lower()
        return next(
            (each for each in (self.framing, self.legacy_framing) if each and kind == each.value), None
        )


def to_openai_response(wire_format: WireFormat, response: Json, context: RequestContext) -> Json:
    """The response in OpenAI's format. Raises ProviderError or MalformedResponse."""
    if wire_format.translate_response is None:
        return response
    with _as_malformed_response():
        return wire_format.translate_response(response, context)


def translate_event(translator: StreamTranslator, event: StreamEvent) -> list[Json]:
    """The chunks for this event. Raises ProviderError or MalformedResponse."""
    with _as_malformed_response():
        return translator.take(event)


@contextmanager
def _as_malformed_response() -> Iterator[None]:
    """Raises MalformedResponse for the exceptions that a provider's file raises if a response is not as documented."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError) as problem:
        raise MalformedResponse(f"The answer is not in the documented format: {problem!r}") from problem
