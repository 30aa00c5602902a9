"""Relays a provider's reply to the caller: whole, or event by event as the events arrive.

A stream to the caller ends in one of two ways. If the provider's stream was complete: with exactly one `[DONE]` (in the Responses
API with the provider's last event). If it was cut, timed out, malformed or reported a failure: with an error event and no `[DONE]`
(in the Responses API with `response.failed`, if the provider sent that). Nothing is sent before the first event has arrived, so
that an earlier failure is an ordinary error response with a status, and a fallback can be tried.

While a provider sends only pings, comments or events without content for the caller, the caller gets a keep-alive
every KEEP_ALIVE_SECONDS, because a load balancer would close a silent connection. A keep-alive begins the stream: a failure after
it is an error event.
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
from serving_ui.gateway.response_translator import any_json, pass_through
from serving_ui.gateway.upstream import Reply

KEEP_ALIVE_SECONDS = 15.0
"""Minimum time between two keep-alives, as the standard of server-sent events advises."""
_KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
_BLANK_LINES = b"\n\n"
_EVENT_PREFIXES = (b"data:", b"event:", b"error:")


async def relay_whole(reply: Reply, attempt: Attempt) -> None:
    """A JSON object: the provider's bytes, or their translation. Any JSON if the entity has no task."""
    query = attempt.query
    content = reply.body_if_complete()
    if content is None:
        content = await _timed(query.caller, reply.body())
    if attempt.entity.task is None:
        content = any_json(content)
    elif attempt.wire_format.translate_response is None:
        content = pass_through(content, query.counter, attempt.failure, may_be_cut=reply.closes_connection())
    else:
        content = attempt.translator.translate(content)
    query.close(200)
    await query.caller.respond(200, content, (b"served-model-name", attempt.entity.name.encode()))


async def relay_stream(reply: Reply, attempt: Attempt, circuit: CircuitBreaker) -> None:
    """Events, each sent as soon as it is complete. The first one closes an open circuit: the host works again."""
    query, caller = attempt.query, attempt.query.caller
    framing = attempt.wire_format.framing_of(reply.headers.get("content-type", ""))
    if framing is None:
        _read_unstreamed(await _timed(caller, reply.body()), attempt)
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = attempt.translator.open_stream(framing)
    last_sent = monotonic()
    while True:
        portion = await (reply.read() if caller.has_begun else _timed(caller, reply.read()))
        ready = stream.feed(portion) if portion else stream.finish()
        if not (ready or stream.is_over or stream.error):
            if monotonic() - last_sent < KEEP_ALIVE_SECONDS:
                continue
            ready = _keep_alive(caller)
        if (ready or stream.is_over) and not caller.has_begun:
            if circuit.is_open:
                circuit.record_success()
            await caller.begin_stream((b"served-model-name", attempt.entity.name.encode()))
        if stream.is_over:
            query.close(200)
            await caller.end_stream(ready + stream.terminator)
            return
        if ready:
            await caller.send_chunk(ready)
            last_sent = monotonic()
        if stream.error is not None:
            raise stream.pop_error()


def _read_unstreamed(content: bytes, attempt: Attempt) -> None:
    """Read a reply that is no stream although one was requested: it may report a failure, and its tokens count. Raises GatewayError."""
    if not content.lstrip().startswith(_EVENT_PREFIXES):
        attempt.translator.translate(content)
        return
    stream = attempt.translator.open_stream(Framing.SSE)  # events with a wrong content type
    stream.feed(content)
    if isinstance(stream.error, ReportedFailure):
        raise stream.pop_error()


def _keep_alive(caller: Caller) -> bytes:
    """A comment, as in the standard; at the invocations paths empty lines, because MLflow's client fails on comments."""
    return _BLANK_LINES if caller.path.endswith("/invocations") else _KEEP_ALIVE_COMMENT


async def _timed(caller: Caller, reading: Awaitable[bytes]) -> bytes:
    """Await `reading` and count that time as the provider's."""
    began = perf_counter()
    try:
        return await reading
    finally:
        caller.add_upstream_time(perf_counter() - began)
