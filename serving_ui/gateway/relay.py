"""Passes a provider's answer on to the caller: whole, or event by event as it comes.

A stream ends in one of two ways: with exactly one `[DONE]` (in the Responses API: with the provider's last event), when the
provider's stream was whole, or with an error event and no `[DONE]`, when it was cut, late, garbled or said so itself. Until the
first event has come nothing is sent, so that an early failure is an ordinary error answer with a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from time import perf_counter
from typing import Any

from pydantic_core import from_json, to_json

from serving_ui.catalogue.exchange import AnswerUnreadable, Asked, Framing, ProviderFailed, Wire, read_reply
from serving_ui.gateway.account import Account
from serving_ui.gateway.caller import Caller, Header
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import EventSplitter, Splitter
from serving_ui.gateway.streams import NamedStream, PassedStream, Redact, Stream, TranslatedStream
from serving_ui.gateway.tally import Tally
from serving_ui.gateway.upstream import Reply


def _aws_splitter() -> Splitter:
    splitter: Splitter = import_module("serving_ui.gateway.aws").FrameSplitter()
    return splitter


_SPLITTERS: Mapping[Framing, Callable[[], Splitter]] = {
    Framing.SSE: EventSplitter,
    Framing.AWS: _aws_splitter,  # its module is large, and loaded when a stream needs it
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

    def stream(self) -> Stream:
        common: dict[str, Any] = {
            "splitter": _SPLITTERS[self.wire.framing](),
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
        """The answer that the caller gets for the provider's."""
        if self.wire.reply is None:
            if not _is_object(content):
                raise _no_object()
            self.tally.whole(content)
            return content
        try:
            given = from_json(content)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise _no_object()
        try:
            made = read_reply(self.wire, given, self.asked())
        except AnswerUnreadable as problem:
            raise GatewayError(500, f"The provider's answer cannot be understood: {problem}") from problem
        except ProviderFailed as failure:
            words = self.redact(str(failure).encode())
            raise GatewayError(500, f"The provider failed while answering. It said: {words}") from failure
        self.tally.answer(made)
        return to_json(made)


async def relay_whole(
    reply: Reply, caller: Caller, passage: Passage, account: Account, *extra: Header
) -> None:
    """A JSON object: passed on byte by byte, or translated."""
    content = passage.whole(await _timed(caller, reply.body()))
    account.close(200)
    await caller.answer(200, content, *extra)


async def relay_stream(
    reply: Reply, caller: Caller, passage: Passage, account: Account, *extra: Header
) -> None:
    """Events, each sent on as soon as it is whole."""
    if not reply.headers.get("content-type", "").startswith(passage.wire.framing.value):
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = passage.stream()
    while True:
        portion = await _timed(caller, reply.read(), first=not caller.began)
        ready = stream.take(portion) if portion else stream.close()
        if (ready or stream.over) and not caller.began:
            await caller.begin(*extra)
        if stream.over:
            account.close(200)
            await caller.end(ready + stream.last)
            return
        if ready:
            await caller.push(ready)
        if stream.error is not None:
            raise stream.error


def _is_object(content: bytes) -> bool:
    """Cheap: a body that HTTP says is whole, and that begins and ends as an object does, is not parsed again."""
    if not (content[:1] == b"{" and content[-1:] == b"}"):
        content = content.strip()
    return content[:1] == b"{" and content[-1:] == b"}"


def _no_object() -> GatewayError:
    return GatewayError(
        400,
        "The provider's answer is not a JSON object. "
        "The person who manages the endpoint must check the address that it leads to.",
    )


async def _timed(caller: Caller, reading: Any, *, first: bool = True) -> bytes:
    """Read, and count the waiting as the provider's time, as long as the answer's headers have not been sent."""
    if not first:
        return bytes(await reading)
    began = perf_counter()
    try:
        return bytes(await reading)
    finally:
        caller.waited(perf_counter() - began)
