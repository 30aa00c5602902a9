"""How a provider's answers become OpenAI-shaped ones: the types that a provider's file and the gateway share.

Pure. Bytes, sockets and clocks are the gateway's: it cuts a stream into events, and says what was context, when, and under which id.
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
"""(OpenAI-shaped body, config with plaintext secrets, model, addresses) -> request. Raises UnsupportedRequest, SecretUnusable."""


class MalformedResponse(Exception):
    """The provider's answer has not the shape that its documentation promises."""


class Framing(StrEnum):
    """How a stream is cut into events."""

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
    """Turns one stream into OpenAI-shaped chunks. One is made for each stream.

    `finished` becomes true when the provider has said that its answer is whole; a stream that ends before is truncated.
    The last chunk has empty `choices` and the `usage`, when the provider tells it; the gateway passes it on to those who asked for it.
    `counts` is the usage as far as the provider has told it by now, for streams that end before; a part that it has not told is missing.
    """

    finished: bool

    @property
    def counts(self) -> Json | None: ...

    def take(self, event: StreamEvent) -> list[Json]:
        """The chunks that follow from this event. Raises ProviderError or MalformedResponse."""
        ...


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """The wire format of one task. Without `translate_response` and `stream_translator` responses pass through: they are in OpenAI's format."""

    build_request: Build
    translate_response: Callable[[Json, RequestContext], Json] | None = None
    """(the provider's whole response, context) -> OpenAI-shaped response. Raises ProviderError or MalformedResponse."""
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


def translate_response(wire: WireFormat, reply: Json, context: RequestContext) -> Json:
    """The OpenAI-shaped response. Raises ProviderError or MalformedResponse."""
    if wire.translate_response is None:
        return reply
    with _as_malformed_response():
        return wire.translate_response(reply, context)


def translate_event(translator: StreamTranslator, event: StreamEvent) -> list[Json]:
    """The chunks of this event. Raises ProviderError or MalformedResponse."""
    with _as_malformed_response():
        return translator.take(event)


@contextmanager
def _as_malformed_response() -> Iterator[None]:
    """Providers' files read answers as their documentation promises them; another shape shows as one of these."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError) as problem:
        raise MalformedResponse(f"The answer has not the shape that was promised: {problem!r}") from problem
