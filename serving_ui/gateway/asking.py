"""Asks a provider, again if that is safe, another one if the endpoint has one, and relays the first answer that comes.

As soon as a byte has been sent to the caller, nothing is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import perf_counter, time

from serving_ui.catalogue.exchange import Asked, Wire
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.wire import RequestRefused, SecretUnusable, UpstreamRequest
from serving_ui.gateway import errors, retries
from serving_ui.gateway.account import Account
from serving_ui.gateway.caller import Caller
from serving_ui.gateway.circuits import Circuit
from serving_ui.gateway.connection import CallerGone, Late, NotReached, UpstreamFault
from serving_ui.gateway.errors import GatewayError, from_reply, sent_secrets, vendor_words
from serving_ui.gateway.guard import Guard
from serving_ui.gateway.pool import Untrusted
from serving_ui.gateway.question import Question
from serving_ui.gateway.relay import Passage, relay_stream, relay_whole
from serving_ui.gateway.signing import Signing
from serving_ui.gateway.snapshot import Endpoint, Entity, Snapshot
from serving_ui.gateway.upstream import BadRequest, Reply, UpstreamClient
from serving_ui.lib.egress import EgressRefused

_ERROR_BYTES = 64 * 1024
_HOST_FAULTS = frozenset({502, 503, 504})


class Unanswered(Exception):
    """One try gave no answer. `error` is what the caller gets if nothing else helps."""

    def __init__(
        self, error: GatewayError, *, again: bool = False, after: float | None = None, elsewhere: bool = True
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
        self.after = after
        self.elsewhere = elsewhere


@dataclass(slots=True)
class Query:
    """One query that may be asked: what of whom, and who waits for the answer."""

    snapshot: Snapshot
    endpoint: Endpoint
    question: Question
    caller: Caller
    account: Account

    def wire(self, entity: Entity) -> Wire:
        """How the entity's provider is asked this. Raises GatewayError when it cannot be."""
        provider = PROVIDERS[entity.provider]
        if self.question.is_response:
            if provider.responses is None:
                raise errors.invalid(
                    f"{provider.label} has no Responses API. Use the path chat/completions with endpoint {self.endpoint.name}."
                )
            return Wire(build=provider.responses)
        wire = provider.wire.get(entity.task)
        if wire is None:
            raise GatewayError(
                501, f"Queries to {provider.label} with the task {entity.task.label} are not supported yet."
            )
        if wire.stream is None and wire.reply is not None and self.question.stream:
            raise errors.invalid(
                f"{provider.label} does not stream with the task {entity.task.label}. Leave out the field stream."
            )
        return wire

    def request(self, wire: Wire, entity: Entity) -> UpstreamRequest:
        """Raises GatewayError when this provider cannot be asked this."""
        try:
            return wire.build(self.question.body, entity.config, entity.model, self.snapshot.addresses)
        except RequestRefused as refusal:
            raise errors.invalid(str(refusal)) from refusal
        except SecretUnusable as problem:
            raise GatewayError(400, str(problem)) from problem

    def passage(self, wire: Wire, entity: Entity, request: UpstreamRequest) -> Passage:
        def asked() -> Asked:
            kind = "chatcmpl" if entity.task is Task.CHAT else "cmpl"
            shown = f"{kind}-{self.caller.request_id.decode()}"
            return Asked(self.question.body, entity.model, shown, int(time()))

        return Passage(
            wire=wire,
            asked=asked,
            redact=_redact(request),
            tally=self.account.tally,
            shows_usage=self.question.shows_usage,
            named=self.question.is_response,
        )


@dataclass(slots=True)
class Try:
    """One entity that is asked one query."""

    query: Query
    entity: Entity
    wire: Wire
    request: UpstreamRequest

    @classmethod
    def of(cls, query: Query, entity: Entity) -> Try:
        """Raises GatewayError when this provider cannot be asked this."""
        wire = query.wire(entity)
        return cls(query, entity, wire, query.request(wire, entity))


class Asking:
    """What asking needs: the client, and what is known of credentials and hosts."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._signing = Signing(client)

    async def answer(self, first: Try, *, fallbacks: tuple[Entity, ...] = ()) -> None:
        """Ask until somebody answers, and relay it. Raises the GatewayError of the last one asked, or CallerGone."""
        query = first.query
        guard = Guard(receive=query.caller.receive, patience=query.endpoint.patience or self._client.patience)
        try:
            each, left = first, list(fallbacks)
            while True:
                query.account.turn_to(each.entity)
                try:
                    await self._patiently(each, guard, is_last=not left)
                    return
                except Unanswered as failure:
                    following = _next(query, left) if failure.elsewhere and not query.caller.began else None
                    if following is None:
                        raise failure.error from failure
                    query.account.record.fallbacks += 1
                    each = following
        finally:
            guard.release()

    async def _patiently(self, each: Try, guard: Guard, *, is_last: bool) -> None:
        """Ask one entity, and again when that is safe and there is no other to ask instead."""
        caller, tries, spent = each.query.caller, 1, 0.0
        while True:
            try:
                await self._once(each, guard)
                return
            except Unanswered as failure:
                if not (failure.again and is_last) or caller.began:
                    raise
                seconds = retries.pause(tries=tries, spent=spent, retry_after=failure.after)
                if seconds is None:
                    raise
            each.query.account.record.retries += 1
            tries, spent = tries + 1, spent + seconds
            began = perf_counter()
            try:
                await guard.pause(seconds)
            except Late as late:
                raise _unanswered(late, each.query.endpoint) from late
            finally:
                caller.waited(perf_counter() - began)

    async def _once(self, each: Try, guard: Guard) -> None:
        query = each.query
        try:
            reply, request = await self._sent(each, guard)
            try:
                await self._relay(reply, request, each)
                guard.release()  # to the server an answered caller has left; that must not cut the connection
                await reply.settle()
            finally:
                reply.done()
        except CallerGone:
            raise
        except (UpstreamFault, EgressRefused, TimeoutError) as fault:
            raise _unanswered(fault, query.endpoint) from fault

    async def _sent(self, each: Try, guard: Guard) -> tuple[Reply, UpstreamRequest]:
        """The reply's head. What becomes of this is what the host's circuit learns."""
        query = each.query
        loop = asyncio.get_running_loop()
        circuit = self._client.circuit(each.request.url)
        if circuit.is_open:
            _refuse_if_open(circuit, loop.time(), query.endpoint)
        began = perf_counter()
        try:
            request = await self._signing.signed(each.request, policy=query.snapshot.egress)
            reply = await self._client.send(request, policy=query.snapshot.egress, guard=guard)
        except (CallerGone, EgressRefused, Untrusted, BadRequest):
            raise
        except (UpstreamFault, TimeoutError):
            circuit.failed(loop.time())
            raise
        finally:
            query.caller.waited(perf_counter() - began)
        if reply.status in _HOST_FAULTS:
            circuit.failed(loop.time())
        else:
            circuit.answered()
        return reply, request

    async def _relay(self, reply: Reply, request: UpstreamRequest, each: Try) -> None:
        query = each.query
        if not 200 <= reply.status < 300:
            raise await self._refusal(reply, request, query.endpoint)
        query.account.asked()
        passage = query.passage(each.wire, each.entity, request)
        relay = relay_stream if query.question.stream else relay_whole
        served = (b"served-model-name", each.entity.name.encode())
        try:
            await relay(reply, query.caller, passage, query.account, served)
        except GatewayError as error:
            raise Unanswered(error, elsewhere=error.status >= 500) from error

    async def _refusal(self, reply: Reply, request: UpstreamRequest, endpoint: Endpoint) -> Unanswered:
        if reply.status == 401:
            self._signing.forget(request)
        error = from_reply(
            status=reply.status,
            headers=reply.headers,
            body=await reply.opening(most=_ERROR_BYTES),
            endpoint=endpoint.name,
            secrets=sent_secrets(url=request.url, headers=request.headers),
        )
        return Unanswered(
            error,
            # An empty account (429, told as 400) does not fill by waiting.
            again=error.status != 400 and retries.is_worth(reply.status, reply.headers),
            after=retries.asked_for(reply.headers),
            elsewhere=reply.status == 429 or reply.status >= 500,
        )


def _next(query: Query, left: list[Entity]) -> Try | None:
    """The next entity that can be asked this."""
    while left:
        try:
            return Try.of(query, left.pop(0))
        except GatewayError:
            continue
    return None


def _refuse_if_open(circuit: Circuit, now: float, endpoint: Endpoint) -> None:
    seconds = circuit.wait(now)
    if seconds > 0:
        error = GatewayError(
            503,
            f"The provider of endpoint {endpoint.name} failed {circuit.faults} times in a row, so it is left alone for a moment. "
            f"Try again in {ceil(seconds)} s.",
            retry_after=ceil(seconds),
        )
        raise Unanswered(error)


def _redact(request: UpstreamRequest) -> Callable[[bytes], str]:
    def redact(body: bytes) -> str:
        return vendor_words(body, secrets=sent_secrets(url=request.url, headers=request.headers))

    return redact


def _unanswered(fault: Exception, endpoint: Endpoint) -> Unanswered:
    """What a provider's silence means for the caller. Only what may pass by itself is worth a retry."""
    manager = f"The person who manages endpoint {endpoint.name} must check it."
    if isinstance(fault, EgressRefused):
        message = f"The provider's address may not be used. {fault} {manager}"
        return Unanswered(GatewayError(400, message), elsewhere=False)
    if isinstance(fault, Untrusted | BadRequest):
        return Unanswered(
            GatewayError(400, f"The provider cannot be asked: {fault}. {manager}"), elsewhere=False
        )
    if isinstance(fault, Late | TimeoutError):
        message = f"The provider was too slow: {str(fault) or 'no token in time'}. Try again."
        return Unanswered(GatewayError(504, message))
    error = GatewayError(503, f"The provider did not answer properly: {fault}. Try again.", retry_after=2)
    return Unanswered(error, again=isinstance(fault, NotReached))
