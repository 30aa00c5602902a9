"""Sends a query to its provider, retries where that is safe (retries.py), falls back to other entities, relays the first answer.

After a failure the next fallback is tried at once; the same entity is tried again only if there is no fallback left. Nothing is
tried again once a byte of an answer has been sent to the caller, or after the query's total timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic, perf_counter

from serving_ui.gateway import attempt_failed, retries
from serving_ui.gateway.attempt_failed import AttemptFailed
from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import CallerDisconnected, TimedOut, UpstreamFault
from serving_ui.gateway.errors import GatewayError, from_provider_reply
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.gateway.pool import CertificateInvalid
from serving_ui.gateway.provider_auth import ProviderAuth
from serving_ui.gateway.query import Attempt, Query
from serving_ui.gateway.relay import relay_stream, relay_whole
from serving_ui.gateway.reported_failure import ReportedFailure
from serving_ui.gateway.snapshot import Endpoint, Entity
from serving_ui.gateway.upstream import Reply, UpstreamClient
from serving_ui.gateway.watchdog import DeadlineWheel, RequestWatchdog
from serving_ui.lib.egress import EgressRefused
from serving_ui.lib.retry_after import retry_after_seconds

_MAX_ERROR_BYTES = 64 * 1024
_HOST_FAILURE_STATUSES = frozenset({502, 503, 504, 529})
"""Statuses that count for the circuit breaker."""


class Dispatcher:
    """One per process: the upstream client, providers' access tokens, and the deadlines of running queries."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._wheel = DeadlineWheel()
        self._auth = ProviderAuth(client)

    async def answer(self, first: Attempt, *, fallbacks: Sequence[Entity] = ()) -> None:
        """Make attempts until one succeeds. Raises the GatewayError of the last attempt, or CallerDisconnected."""
        query, task = first.query, asyncio.current_task(self._client.loop)
        timeouts = query.endpoint.timeouts or self._client.timeouts
        watchdog = RequestWatchdog(query.caller.receive, timeouts, self._wheel, task)
        attempt, remaining, attempts, delayed = first, list(fallbacks), 1, 0.0
        failure: AttemptFailed | None = None
        try:
            while True:
                try:
                    attempt = self._allowed(attempt)
                    await self._attempt(attempt, watchdog)
                    return
                except CallerDisconnected:
                    raise
                except (UpstreamFault, EgressRefused, GatewayError, AttemptFailed) as problem:
                    failure = attempt_failed.from_fault(problem, query.endpoint)
                if query.caller.has_begun or watchdog.has_ended:
                    raise failure.error
                if failure.may_fall_back and (fallback := _next_fallback(query, remaining)):
                    query.fallbacks += 1
                    query.start_attempt()
                    attempt = fallback
                    continue
                delay = _retry_delay(failure, attempts, delayed)
                if delay is None:
                    raise failure.error
                query.retries += 1
                query.start_attempt()
                if attempt.entity.others:
                    attempt = Attempt.of(query, attempt.entity.elsewhere())
                attempts, delayed = attempts + 1, delayed + delay
                await self._wait(delay, watchdog, query)
        except asyncio.CancelledError:
            if watchdog.gave_up:
                raise CallerDisconnected("the caller does not read its answer") from None
            raise
        finally:
            watchdog.stop()
            failure = None  # its traceback refers to this frame: a reference cycle

    def _allowed(self, attempt: Attempt) -> Attempt:
        """The attempt at the first address of its entity whose circuit is closed, which must be made. Raises AttemptFailed if none is."""
        query = attempt.query
        for others in range(len(attempt.entity.others), -1, -1):
            query.entity = attempt.entity
            circuit = self._client.circuit(attempt.upstream_request.url)
            seconds = circuit.seconds_until_allowed(monotonic()) if circuit.failures else 0.0
            if seconds <= 0:
                break
            if not others:
                raise attempt_failed.from_open_circuit(circuit, seconds, query.endpoint)
            attempt = Attempt.of(query, attempt.entity.elsewhere())
        return attempt

    async def _attempt(self, attempt: Attempt, watchdog: RequestWatchdog) -> None:
        """Send one request and relay its reply. The result is recorded in the host's circuit breaker."""
        query, policy = attempt.query, attempt.query.snapshot.egress
        circuit = self._client.circuit(attempt.upstream_request.url)
        if attempt.upstream_request.auth is not None:
            await self._authenticate(attempt, watchdog)
        began = perf_counter()
        try:
            reply = await self._client.send(attempt.upstream_request, policy=policy, watchdog=watchdog)
        except (CallerDisconnected, EgressRefused, CertificateInvalid, InvalidUpstreamRequest):
            raise
        except UpstreamFault as fault:
            if not (isinstance(fault, TimedOut) and self._has_shorter_timeouts(query.endpoint)):
                circuit.record_failure(monotonic())
            raise
        finally:
            query.caller.add_upstream_time(perf_counter() - began)
            query.is_billable, watchdog.was_sent = watchdog.was_sent, False
            if watchdog.resends:
                query.retries, watchdog.resends = query.retries + watchdog.resends, 0
        status, is_streamed = reply.status, query.request.stream
        try:
            if not 200 <= status < 300 or reply.is_undecodable:
                raise await self._rejection(reply, attempt)
            await (relay_stream(reply, attempt, circuit) if is_streamed else relay_whole(reply, attempt))
            watchdog.stop()  # the server reports an answered caller as disconnected; that must not close the connection
            if not reply.is_read():
                await reply.drain()
        except ReportedFailure as reported:
            status = reported.upstream_status
            query.is_billable = (
                query.caller.has_begun
            )  # before the first byte it is a rejection, though it came with 200
            raise
        finally:
            if circuit.failures or status in _HOST_FAILURE_STATUSES:
                _record_status(circuit, status)
            reply.release()

    async def _authenticate(self, attempt: Attempt, watchdog: RequestWatchdog) -> None:
        """Add the token or signature. A fault of the token server does not count for the circuit breaker of the provider's host."""
        query, began = attempt.query, perf_counter()
        try:
            authenticating = self._auth.authenticate(attempt.upstream_request, policy=query.snapshot.egress)
            attempt.upstream_request = await watchdog.run(authenticating)
        except (CallerDisconnected, CertificateInvalid, InvalidUpstreamRequest):
            raise
        except (UpstreamFault, TimeoutError) as fault:
            raise attempt_failed.from_token_server(fault, query.endpoint) from fault
        finally:
            query.caller.add_upstream_time(perf_counter() - began)

    async def _rejection(self, reply: Reply, attempt: Attempt) -> AttemptFailed:
        """The failure that an error status means."""
        if 200 <= reply.status < 300:
            return attempt_failed.undecodable_reply(attempt.query.endpoint)
        attempt.query.is_billable = False
        if reply.status == 401:
            self._auth.forget(attempt.upstream_request)
        error = from_provider_reply(
            status=reply.status,
            headers=reply.headers,
            body=b"" if reply.is_undecodable else await reply.read_start(max_bytes=_MAX_ERROR_BYTES),
            endpoint=attempt.query.endpoint.name,
            secrets=attempt.secrets,
        )
        return AttemptFailed(
            error,
            # An empty account (a 429 that the caller gets as 400) is still empty after a delay.
            may_retry=error.status != 400 and retries.is_retryable(reply.status, reply.headers),
            retry_after=retry_after_seconds(reply.headers),
            may_fall_back=attempt_failed.may_fall_back(reply.status),
        )

    async def _wait(self, delay: float, watchdog: RequestWatchdog, query: Query) -> None:
        began = perf_counter()
        try:
            await watchdog.sleep(delay)
        except TimedOut as timeout:
            raise attempt_failed.from_fault(timeout, query.endpoint).error from timeout
        finally:
            query.caller.add_upstream_time(perf_counter() - began)

    def _has_shorter_timeouts(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint times out before the default would: that says nothing about the host to other endpoints."""
        own, default = endpoint.timeouts, self._client.timeouts
        return own is not None and (own.connect < default.connect or own.first_byte < default.first_byte)


def _record_status(circuit: CircuitBreaker, status: int) -> None:
    """`status` is the reply's, or that of a failure which it reported."""
    if status in _HOST_FAILURE_STATUSES:
        circuit.record_failure(monotonic())
    else:
        circuit.record_success()


def _retry_delay(failure: AttemptFailed, attempts: int, delayed: float) -> float | None:
    """Seconds until the same entity gets the query again; None if it may not be repeated."""
    if not failure.may_retry:
        return None
    return retries.retry_delay(attempts=attempts, spent=delayed, retry_after=failure.retry_after)


def _next_fallback(query: Query, remaining: list[Entity]) -> Attempt | None:
    """An attempt at the next entity that supports this request, or None. Removes it and those before it from `remaining`."""
    while remaining:
        try:
            return Attempt.of(query, remaining.pop(0))
        except GatewayError:
            continue
    return None
