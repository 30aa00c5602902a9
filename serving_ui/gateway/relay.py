"""Passes a provider's answer on to the caller: whole, or event by event as it comes.

A stream ends in one of two ways: with exactly one `[DONE]` (in the Responses API: with the provider's last event), when the
provider's stream was whole, or with an error event and no `[DONE]`, when it was cut, late, garbled or said so itself. Until the
first event has come nothing is sent, so that an early failure is an ordinary error answer with a status.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from serving_ui.gateway.caller import Caller
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.passage import passed
from serving_ui.gateway.query import Try
from serving_ui.gateway.upstream import Reply


async def relay_whole(reply: Reply, each: Try) -> None:
    """A JSON object: passed on byte by byte, or translated."""
    query = each.query
    content = reply.arrived()
    if content is None:
        content = await _timed(query.caller, reply.body())
    content = passed(content, query.tally) if each.wire.reply is None else each.passage.whole(content)
    query.close(200)
    await query.caller.answer(200, content, (b"served-model-name", each.entity.name.encode()))


async def relay_stream(reply: Reply, each: Try) -> None:
    """Events, each sent on as soon as it is whole."""
    query, caller = each.query, each.query.caller
    framing = each.wire.framed_as(reply.headers.get("content-type", ""))
    if framing is None:
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = each.passage.stream(framing)
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


async def _timed(caller: Caller, reading: Awaitable[bytes]) -> bytes:
    """Read, and count the waiting as the provider's time."""
    began = perf_counter()
    try:
        return await reading
    finally:
        caller.waited(perf_counter() - began)
