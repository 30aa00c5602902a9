"""Passes a provider's answer on to the caller: whole, or event by event as it comes.

A stream ends in one of two ways: with exactly one `[DONE]` (in the Responses API: with the provider's last event), when the
provider's stream was whole, or with an error event and no `[DONE]` (there: `response.failed`, if the provider sent that), when it was
cut, late, garbled or said so itself. Until the first event has come nothing is sent, so that an early failure is an ordinary error
answer with a status, and another entity can be asked.

A provider that shows for a while only that it is alive (pings, comments, events that say nothing to the caller) is passed on as a
keep-alive, lest a balancer between us and the caller cuts a connection on which nothing moves. It begins the stream, too: who has
thought for so long has taken the request, and a failure after that is an error event.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic, perf_counter

from serving_ui.catalogue.wire_format import Framing
from serving_ui.gateway.caller import Caller
from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.query import Attempt
from serving_ui.gateway.reported_failure import ReportedFailure
from serving_ui.gateway.response_translator import passed
from serving_ui.gateway.upstream import Reply

KEEP_ALIVE_EVERY = 15.0
"""Seconds, at least: what the standard of server-sent events advises."""
_KEEP_ALIVE = b": keep-alive\n\n"
_BLANK = b"\n\n"
_EVENTS = (b"data:", b"event:", b"error:")


async def relay_whole(reply: Reply, attempt: Attempt) -> None:
    """A JSON object: passed on byte by byte, or translated."""
    query = attempt.query
    content = reply.arrived()
    if content is None:
        content = await _timed(query.caller, reply.body())
    if attempt.wire.translate_response is None:
        content = passed(content, query.counter, attempt.failure, may_be_cut=reply.ends_connection())
    else:
        content = attempt.translator.whole(content)
    query.close(200)
    await query.caller.answer(200, content, (b"served-model-name", attempt.entity.name.encode()))


async def relay_stream(reply: Reply, attempt: Attempt, circuit: CircuitBreaker) -> None:
    """Events, attempt sent on as soon as it is whole. With the first one a host that was left alone is known to be back."""
    query, caller = attempt.query, attempt.query.caller
    framing = attempt.wire.framing_of(reply.headers.get("content-type", ""))
    if framing is None:
        _read_unstreamed(await _timed(caller, reply.body()), attempt)
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = attempt.translator.stream(framing)
    heard = monotonic()
    while True:
        portion = await (reply.read() if caller.began else _timed(caller, reply.read()))
        ready = stream.take(portion) if portion else stream.close()
        if not (ready or stream.over or stream.error):
            if monotonic() - heard < KEEP_ALIVE_EVERY:
                continue
            ready = _keep_alive(caller)
        if (ready or stream.over) and not caller.began:
            if circuit.is_open:
                circuit.answered()
            await caller.begin((b"served-model-name", attempt.entity.name.encode()))
        if stream.over:
            query.close(200)
            await caller.end(ready + stream.last)
            return
        if ready:
            await caller.push(ready)
            heard = monotonic()
        if stream.error is not None:
            raise stream.pop_error()


def _read_unstreamed(content: bytes, attempt: Attempt) -> None:
    """Reads what came in place of a stream: it may tell of a failure, and tokens were used all the same. Raises GatewayError."""
    if not content.lstrip().startswith(_EVENTS):
        attempt.translator.whole(content)
        return
    stream = attempt.translator.stream(Framing.SSE)  # events, but of another content type
    stream.take(content)
    if isinstance(stream.error, ReportedFailure):
        raise stream.pop_error()


def _keep_alive(caller: Caller) -> bytes:
    """A comment, as the standard has it; MLflow's client, which asks at the paths of invocations, takes empty lines and no comment."""
    return _BLANK if caller.path.endswith("/invocations") else _KEEP_ALIVE


async def _timed(caller: Caller, reading: Awaitable[bytes]) -> bytes:
    """Read, and count the waiting as the provider's time."""
    began = perf_counter()
    try:
        return await reading
    finally:
        caller.waited(perf_counter() - began)
