"""Asks a provider, again if that is safe, another one if the endpoint has one, and relays the first answer that comes.

As soon as a byte has been sent to the caller, nothing is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import ceil
from time import monotonic, perf_counter

from serving_ui.gateway import retries
from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import CallerGone, Cut, Late, NotReached, UpstreamFault
from serving_ui.gateway.errors import GatewayError, from_reply
from serving_ui.gateway.outgoing import BadRequest
from serving_ui.gateway.pool import Untrusted
from serving_ui.gateway.query import Attempt, Query
from serving_ui.gateway.relay import relay_stream, relay_whole
from serving_ui.gateway.reported_failure import ReportedFailure
from serving_ui.gateway.signing import Signing
from serving_ui.gateway.snapshot import Endpoint, Entity
from serving_ui.gateway.upstream import Reply, UpstreamClient
from serving_ui.gateway.watchdog import DeadlineWheel, RequestWatchdog
from serving_ui.lib.egress import EgressRefused
from serving_ui.lib.retry_after import retry_after_seconds

_ERROR_BYTES = 64 * 1024
_HOST_FAULTS = frozenset({502, 503, 504, 529})


class AttemptFailed(Exception):
    """One try gave no answer. `error` is what the caller gets if nothing else helps."""

    def __init__(
        self,
        error: GatewayError,
        *,
        may_retry: bool = False,
        retry_after: float | None = None,
        may_fall_back: bool = True,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_retry = may_retry
        self.retry_after = retry_after
        self.may_fall_back = may_fall_back


class Dispatcher:
    """What asking needs: the client, and what is known of credentials and hosts."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._wheel = DeadlineWheel()
        self._signing = Signing(client)

    async def answer(self, first: Attempt, *, fallbacks: Sequence[Entity] = ()) -> None:
        """Ask until somebody answers, and relay it. Raises the GatewayError of the last one asked, or CallerGone."""
        query = first.query
        timeouts = query.endpoint.timeouts or self._client.timeouts
        task = asyncio.current_task(self._client.loop)
        watchdog = RequestWatchdog(query.caller.receive, timeouts, self._wheel, task)
        attempt, left, attempts, paused = first, list(fallbacks), 1, 0.0
        failure: AttemptFailed | None = None
        try:
            while True:
                query.entity = attempt.entity
                try:
                    await self._attempt(attempt, watchdog)
                    return
                except CallerGone:
                    raise
                except (UpstreamFault, EgressRefused, GatewayError, AttemptFailed) as problem:
                    failure = _to_attempt_failed(problem, query.endpoint)
                if query.caller.began:
                    raise failure.error
                seconds = _pause(failure, attempts, paused) if not left else None
                if seconds is not None:
                    query.retries += 1
                    query.start_retry()
                    attempts, paused = attempts + 1, paused + seconds
                    await self._pause(seconds, watchdog, query)
                    continue
                following = _next_fallback(query, left) if failure.may_fall_back else None
                if following is None:
                    raise failure.error
                query.fallbacks += 1
                query.start_retry()
                attempt = following
        except asyncio.CancelledError:
            if watchdog.gave_up:
                raise CallerGone("the caller does not read its answer") from None
            raise
        finally:
            watchdog.release()
            failure = None  # it knows this frame, which would keep it, and all that a query holds, until garbage is looked for

    async def _pause(self, seconds: float, watchdog: RequestWatchdog, query: Query) -> None:
        began = perf_counter()
        try:
            await watchdog.pause(seconds)
        except Late as late:
            raise _to_attempt_failed(late, query.endpoint).error from late
        finally:
            query.caller.waited(perf_counter() - began)

    async def _attempt(self, attempt: Attempt, watchdog: RequestWatchdog) -> None:
        """Ask and relay. What becomes of asking is what the host's circuit learns."""
        query, policy = attempt.query, attempt.query.snapshot.egress
        circuit = self._client.circuit(attempt.upstream_request.url)
        if circuit.faults:
            _refuse_if_open(circuit, query.endpoint)
        if attempt.upstream_request.auth is not None:
            await self._sign(attempt, watchdog)
        began = perf_counter()
        try:
            reply = await self._client.send(attempt.upstream_request, policy=policy, watchdog=watchdog)
        except (CallerGone, EgressRefused, Untrusted, BadRequest):
            raise
        except UpstreamFault as fault:
            if not (isinstance(fault, Late) and self._has_shorter_timeouts(query.endpoint)):
                circuit.failed(monotonic())
            raise
        finally:
            query.caller.waited(perf_counter() - began)
            query.was_asked, watchdog.was_sent = watchdog.was_sent, False
            if watchdog.repeats:
                query.retries, watchdog.repeats = query.retries + watchdog.repeats, 0
        status = reply.status
        try:
            if not 200 <= status < 300 or reply.is_packed:
                raise await self._refusal(reply, attempt)
            await (
                relay_stream(reply, attempt, circuit) if query.request.stream else relay_whole(reply, attempt)
            )
            watchdog.release()  # to the server an answered caller has left; that must not cut the connection
            if not reply.is_over():
                await reply.settle()
        except ReportedFailure as reported:
            status = reported.upstream_status
            query.was_asked = query.caller.began  # until then it is a refusal, though it came with 200
            raise
        finally:
            if circuit.faults or status in _HOST_FAULTS:
                _update_circuit(circuit, status)
            reply.done()

    def _has_shorter_timeouts(self, endpoint: Endpoint) -> bool:
        """Whether it waits for less long than is usual: then other endpoints of the host need not share its impatience."""
        own, usual = endpoint.timeouts, self._client.timeouts
        return own is not None and (own.connect < usual.connect or own.first_byte < usual.first_byte)

    async def _sign(self, attempt: Attempt, watchdog: RequestWatchdog) -> None:
        """Add the token or signature. Whoever fails to give one is not the provider's host: its circuit does not hear of it."""
        query, began = attempt.query, perf_counter()
        try:
            signing = self._signing.signed(attempt.upstream_request, policy=query.snapshot.egress)
            attempt.upstream_request = await watchdog.during(signing)
        except (CallerGone, Untrusted, BadRequest):
            raise
        except (UpstreamFault, TimeoutError) as fault:
            raise _to_credentials_failed(fault, query.endpoint) from fault
        finally:
            query.caller.waited(perf_counter() - began)

    async def _refusal(self, reply: Reply, attempt: Attempt) -> AttemptFailed:
        if 200 <= reply.status < 300:
            return AttemptFailed(_compressed(attempt.query.endpoint))
        attempt.query.was_asked = False  # turned down: nobody bills that
        if reply.status == 401:
            self._signing.forget(attempt.upstream_request)
        error = from_reply(
            status=reply.status,
            headers=reply.headers,
            body=b"" if reply.is_packed else await reply.opening(most=_ERROR_BYTES),
            endpoint=attempt.query.endpoint.name,
            secrets=attempt.secrets,
        )
        return AttemptFailed(
            error,
            # An empty account (429, told as 400) does not fill by waiting.
            may_retry=error.status != 400 and retries.is_retryable(reply.status, reply.headers),
            retry_after=retry_after_seconds(reply.headers),
            may_fall_back=_may_fall_back(reply.status),
        )


def _update_circuit(circuit: CircuitBreaker, status: int) -> None:
    """What a status, or what an answer told in its place, says of the host."""
    if status in _HOST_FAULTS:
        circuit.failed(monotonic())
    else:
        circuit.answered()


def _may_fall_back(status: int) -> bool:
    """Whether another provider may do what one has refused with this status: it is busy, late or broken, and not the request wrong."""
    return status in {408, 424, 429} or status >= 500


def _pause(failure: AttemptFailed, attempts: int, paused: float) -> float | None:
    """Seconds until the same entity may be asked again; None when it must not."""
    if not failure.may_retry:
        return None
    return retries.retry_delay(attempts=attempts, spent=paused, retry_after=failure.retry_after)


def _next_fallback(query: Query, left: list[Entity]) -> Attempt | None:
    """The next entity that can be asked this."""
    while left:
        try:
            return Attempt.of(query, left.pop(0))
        except GatewayError:
            continue
    return None


def _compressed(endpoint: Endpoint) -> GatewayError:
    return GatewayError(
        501,
        "The provider compressed its answer although it was asked not to, so it cannot be read. "
        f"The person who manages endpoint {endpoint.name} must have compression switched off there.",
    )


def _refuse_if_open(circuit: CircuitBreaker, endpoint: Endpoint) -> None:
    seconds = circuit.wait(monotonic())
    if seconds > 0:
        error = GatewayError(
            503,
            f"The provider of endpoint {endpoint.name} failed {circuit.faults} times in a row, so it is left alone for a moment. "
            f"Try again in {ceil(seconds)} s.",
            retry_after=ceil(seconds),
        )
        raise AttemptFailed(error)


def _to_attempt_failed(fault: Exception, endpoint: Endpoint) -> AttemptFailed:
    """What a provider's silence means for the caller. Only what may pass by itself is worth a retry."""
    if isinstance(fault, AttemptFailed):
        return fault
    if isinstance(fault, ReportedFailure):  # no promise that nothing was done: so not `again`
        return AttemptFailed(fault, may_fall_back=_may_fall_back(fault.upstream_status))
    if isinstance(fault, GatewayError):  # what came cannot be passed on
        return AttemptFailed(fault, may_fall_back=fault.status >= 500)
    manager = f"The person who manages endpoint {endpoint.name} must check it."
    if isinstance(fault, EgressRefused):
        message = f"The provider's address may not be used. {fault} {manager}"
        return AttemptFailed(GatewayError(400, message), may_fall_back=False)
    if isinstance(fault, Untrusted | BadRequest):
        return AttemptFailed(
            GatewayError(400, f"The provider cannot be asked: {fault}. {manager}"), may_fall_back=False
        )
    if isinstance(fault, Late):
        return AttemptFailed(GatewayError(504, f"The provider was too slow: {fault}. Try again."))
    is_unasked = isinstance(fault, NotReached)
    # Whoever reads when to come back, asks again by itself; it must be certain that nothing has been done.
    error = GatewayError(
        503,
        f"The provider did not answer properly: {fault}. Try again.",
        retry_after=2 if is_unasked else None,
    )
    return AttemptFailed(error, may_retry=is_unasked)


def _to_credentials_failed(fault: Exception, endpoint: Endpoint) -> AttemptFailed:
    """What the silence of a token server means for the caller."""
    server = f"The server that gives endpoint {endpoint.name} its access to the provider"
    if isinstance(fault, Late | TimeoutError):
        return AttemptFailed(GatewayError(504, f"{server} was too slow. Try again."))
    error = GatewayError(503, f"{server} did not answer properly: {fault}. Try again.", retry_after=2)
    return AttemptFailed(error, may_retry=isinstance(fault, NotReached | Cut))  # a second token harms nobody
