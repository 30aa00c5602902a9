"""Passes a provider's answer on to the caller: whole, or event by event as it comes.

A stream ends in one of two ways: with exactly one `[DONE]` (in the Responses API: with the provider's last event), when the
provider's stream was whole, or with an error event and no `[DONE]`, when it was cut, late, garbled or said so itself. Until the
first event has come nothing is sent, so that an early failure is an ordinary error answer with a status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from time import perf_counter
from typing import Any

from pydantic_core import from_json, to_json

from serving_ui.catalogue.exchange import AnswerUnreadable, Framing, ProviderFailed, read_reply
from serving_ui.gateway.caller import Caller
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.query import Try
from serving_ui.gateway.sse import EventSplitter, Splitter
from serving_ui.gateway.streams import NamedStream, PassedStream, Stream, TranslatedStream
from serving_ui.gateway.upstream import Reply


def _aws_splitter() -> Splitter:
    splitter: Splitter = import_module("serving_ui.gateway.aws").FrameSplitter()
    return splitter


_SPLITTERS: Mapping[Framing, Callable[[], Splitter]] = {
    Framing.SSE: EventSplitter,
    Framing.AWS: _aws_splitter,  # its module is large, and loaded when a stream needs it
}


async def relay_whole(reply: Reply, each: Try) -> None:
    """A JSON object: passed on byte by byte, or translated."""
    query = each.query
    content = await _timed(query.caller, reply.body())
    if each.wire.reply is not None:
        content = _translated(content, each)
    elif _is_object(content):
        query.tally.whole(content)
    else:
        raise _no_object()
    query.close(200)
    await query.caller.answer(200, content, (b"served-model-name", each.entity.name.encode()))


async def relay_stream(reply: Reply, each: Try) -> None:
    """Events, each sent on as soon as it is whole."""
    query, caller = each.query, each.query.caller
    if not reply.headers.get("content-type", "").startswith(each.wire.framing.value):
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = _stream(each)
    while True:
        portion = await (reply.read() if caller.began else _timed(caller, reply.read()))
        ready = stream.take(portion) if portion else stream.close()
        if (ready or stream.over) and not caller.began:
            await caller.begin((b"served-model-name", each.entity.name.encode()))
        if stream.over:
            query.close(200)
            await caller.end(ready + stream.last)
            return
        if ready:
            await caller.push(ready)
        if stream.error is not None:
            raise stream.error


def _translated(content: bytes, each: Try) -> bytes:
    try:
        given = from_json(content)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise _no_object()
    try:
        made = read_reply(each.wire, given, each.asked)
    except AnswerUnreadable as problem:
        raise GatewayError(
            500,
            "The provider's answer cannot be understood, because it has not the shape that its documentation promises. "
            "Try again, or tell the person who manages the endpoint.",
        ) from problem
    except ProviderFailed as failure:
        words = each.redact(str(failure).encode())
        raise GatewayError(500, f"The provider failed while answering. It said: {words}") from failure
    each.query.tally.answer(made)
    return to_json(made)


def _stream(each: Try) -> Stream:
    question = each.query.question
    common: dict[str, Any] = {
        "splitter": _SPLITTERS[each.wire.framing](),
        "tally": each.query.tally,
        "redact": each.redact,
        "shows_usage": question.shows_usage,
    }
    if question.is_response:
        return NamedStream(**common)
    if each.wire.stream is None:
        return PassedStream(**common)
    return TranslatedStream(translator=each.wire.stream(each.asked), **common)


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


async def _timed(caller: Caller, reading: Awaitable[bytes]) -> bytes:
    """Read, and count the waiting as the provider's time."""
    began = perf_counter()
    try:
        return await reading
    finally:
        caller.waited(perf_counter() - began)
