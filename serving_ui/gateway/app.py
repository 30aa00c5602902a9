"""The gateway as an ASGI application: who asks, what, may they, how often; then the provider is asked and its answer relayed.

Mounted beside Django in one process (`handles` says which paths are its own) or run alone. One request reads the snapshot once,
touches no database and no file, and changes nothing but the windows of the rate limits.

Why uvicorn, with uvloop and httptools: a bare proxy on one core, nginx and wrk on the other; requests/s with 32 connections (the
best seen on a machine that does other things too), median with one, processor time of a request:

                                  client of upstream.py      pyreqwest                  aiohttp
    uvicorn, uvloop, httptools    20,200  0.11 ms  43 us     20,900  0.13 ms  50 us     11,600  0.18 ms  102 us
    granian 2.8, ASGI             14,000  0.17     61        14,500  0.20     73         9,800  0.25     104
    granian 2.8, RSGI             21,900  0.15     46        18,000  0.20     63        11,500  0.22      88
    uvicorn on asyncio and h11                                7,400  0.29

RSGI is no faster for us, and Django beside us needs ASGI. This gateway, with token, right and two limits on: 15,000, 0.14 ms, 67 us.
uvicorn also stays one process (41 MB against 74 MB for granian's parent and worker). tests/bench/servers.py makes the table again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from time import monotonic_ns, perf_counter, time
from typing import Any

from pydantic_core import to_json

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.wire import ClientCredentials, RequestRefused, SecretUnusable, UpstreamRequest
from serving_ui.gateway import errors, passes, question
from serving_ui.gateway.caller import Caller, Gone, Receive, Scope, Send
from serving_ui.gateway.connection import CallerGone, Late, UpstreamFault
from serving_ui.gateway.credentials import Credentials
from serving_ui.gateway.errors import GatewayError, from_reply, sent_secrets, vendor_words
from serving_ui.gateway.guard import Guard, Patience
from serving_ui.gateway.limits import Limits
from serving_ui.gateway.pool import Untrusted
from serving_ui.gateway.relay import relay_stream, relay_whole
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, SnapshotHolder
from serving_ui.gateway.upstream import BadRequest, Reply, UpstreamClient
from serving_ui.lib.egress import EgressRefused

_log = logging.getLogger("serving_ui.gateway")
_ERROR_BYTES = 64 * 1024

handles = question.handles


class Gateway:
    """The ASGI callable. `start` and `stop` once, in the event loop that it answers in."""

    def __init__(
        self,
        holder: SnapshotHolder,
        *,
        client: UpstreamClient | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.holder = holder
        self._client = client or UpstreamClient(patience=patience)
        self._credentials = Credentials(self._client)
        self._limits = Limits()

    async def start(self) -> None:
        self._client.start()

    async def stop(self) -> None:
        self._client.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("The gateway answers HTTP requests only.")
        caller = Caller(scope=scope, receive=receive, send=send)
        try:
            await self._answer(caller)
        except GatewayError as error:
            await caller.refuse(error)
        except (Gone, CallerGone):
            return
        except Exception:  # the outermost edge: the caller gets an answer, the log gets the reason
            _log.exception("The gateway failed on request %s.", caller.request_id.decode())
            shown = caller.request_id.decode()
            await caller.refuse(
                GatewayError(500, f"The gateway itself failed. Its log has the reason under request {shown}.")
            )

    async def _answer(self, caller: Caller) -> None:
        snapshot = self.holder.current
        principal = _principal(snapshot, caller.bearer)
        address = question.read_path(caller.path)
        if address.is_list:
            await caller.answer(200, _models(snapshot, principal))
            return
        if caller.method != "POST":
            raise errors.invalid("Queries are sent with POST.")
        endpoint = _endpoint(snapshot, principal, address.endpoint) if address.endpoint is not None else None
        body = question.read_body(await caller.body())
        if endpoint is None:
            endpoint = _endpoint(snapshot, principal, question.endpoint_named(body))
        entity = _entity(endpoint, address)
        stream = question.check_body(body, task=endpoint.task)
        request = _request(entity, body, snapshot)
        self._admit(endpoint, principal)
        await self._ask(snapshot, endpoint, entity, request, caller, stream=stream)

    def _admit(self, endpoint: Endpoint, principal: Principal) -> None:
        if not endpoint.rate_limits:
            return
        refusal = self._limits.admit(
            endpoint_id=endpoint.id, user_id=principal.id, rules=endpoint.rate_limits, now=monotonic_ns()
        )
        if refusal is not None:
            raise GatewayError(429, refusal.sentence, retry_after=refusal.retry_after)

    async def _ask(
        self,
        snapshot: Snapshot,
        endpoint: Endpoint,
        entity: Entity,
        request: UpstreamRequest,
        caller: Caller,
        *,
        stream: bool,
    ) -> None:
        guard = Guard(receive=caller.receive, patience=self._client.patience)
        try:
            began = perf_counter()
            try:
                signed = await self._signed(request, snapshot)
                reply = await self._client.send(signed, policy=snapshot.egress, guard=guard)
            finally:
                caller.waited(perf_counter() - began)
            try:
                await self._relay(reply, endpoint, entity, signed, caller, stream=stream)
                guard.release()  # to the server an answered caller has left; that must not cut the connection
                await reply.settle()
            finally:
                reply.done()
        except CallerGone:
            raise
        except (UpstreamFault, EgressRefused, TimeoutError) as fault:
            raise _fault_error(fault, endpoint) from fault
        finally:
            guard.release()

    async def _relay(
        self,
        reply: Reply,
        endpoint: Endpoint,
        entity: Entity,
        request: UpstreamRequest,
        caller: Caller,
        *,
        stream: bool,
    ) -> None:
        served = (b"served-model-name", entity.name.encode())
        if not 200 <= reply.status < 300:
            if reply.status == 401 and isinstance(request.auth, ClientCredentials):
                self._credentials.forget(request.auth)
            content = await reply.opening(most=_ERROR_BYTES)
            secrets = sent_secrets(url=request.url, headers=request.headers)
            raise from_reply(
                status=reply.status,
                headers=reply.headers,
                body=content,
                endpoint=endpoint.name,
                secrets=secrets,
            )
        if stream:
            await relay_stream(reply, caller, _redact(request), served)
        else:
            await relay_whole(reply, caller, served)

    async def _signed(self, request: UpstreamRequest, snapshot: Snapshot) -> UpstreamRequest:
        if request.auth is None:
            return request
        if not isinstance(request.auth, ClientCredentials):
            raise GatewayError(501, "Queries to this provider are not supported yet.")
        token = await self._credentials.token(request.auth, policy=snapshot.egress)
        return replace(request, headers=(*request.headers, ("authorization", f"Bearer {token}")))


def _principal(snapshot: Snapshot, bearer: str) -> Principal:
    if bearer.startswith(passes.PREFIX):
        user_id = passes.read_pass(key=snapshot.pass_key, value=bearer, now=time())
        known = snapshot.principals.get(user_id) if user_id is not None else None
        if known is not None:
            return known
    elif bearer:
        entry = snapshot.tokens.get(sha256(bearer.encode("latin-1")).digest())
        if entry is not None and (entry.expires_at is None or entry.expires_at > time()):
            return entry.principal
    raise errors.unauthenticated()


def _endpoint(snapshot: Snapshot, principal: Principal, name: str) -> Endpoint:
    endpoint = snapshot.endpoints.get(name)
    if endpoint is None or not endpoint.may_see(principal):
        raise errors.no_endpoint(name)
    if not endpoint.may_query(principal):
        raise errors.not_queryable(name)
    return endpoint


def _entity(endpoint: Endpoint, address: question.Address) -> Entity:
    if address.task is not None and address.task is not endpoint.task:
        raise errors.invalid(
            f"Endpoint {endpoint.name} has the task {endpoint.task.label}. Use the path of that task."
        )
    if not endpoint.ready or not endpoint.entities:
        why = f" {endpoint.problem}" if endpoint.problem else " Its page shows how far it is."
        raise GatewayError(400, f"Endpoint {endpoint.name} is not ready.{why}")
    entity = endpoint.entity(address.entity)
    if entity is None:
        raise GatewayError(404, f"Endpoint {endpoint.name} has no served entity of that name.")
    return entity


def _request(entity: Entity, body: dict[str, Any], snapshot: Snapshot) -> UpstreamRequest:
    provider = PROVIDERS[entity.provider]
    build = provider.wire.get(entity.task)
    if build is None:
        raise GatewayError(
            501, f"Queries to {provider.label} with the task {entity.task.label} are not supported yet."
        )
    try:
        return build(body, entity.config, entity.model, snapshot.addresses)
    except RequestRefused as refusal:
        raise errors.invalid(str(refusal)) from refusal
    except SecretUnusable as problem:
        raise GatewayError(400, str(problem)) from problem


def _models(snapshot: Snapshot, principal: Principal) -> bytes:
    names = sorted(name for name, endpoint in snapshot.endpoints.items() if endpoint.may_query(principal))
    entries = [{"id": name, "object": "model", "created": 0, "owned_by": "serving-ui"} for name in names]
    return to_json({"object": "list", "data": entries})


def _redact(request: UpstreamRequest) -> Callable[[bytes], str]:
    secrets = sent_secrets(url=request.url, headers=request.headers)
    return lambda body: vendor_words(body, secrets=secrets)


def _fault_error(fault: Exception, endpoint: Endpoint) -> GatewayError:
    """What a provider's silence means for the caller. Only what may pass by itself is worth a retry."""
    manager = f"The person who manages endpoint {endpoint.name} must check it."
    if isinstance(fault, EgressRefused):
        return GatewayError(400, f"The provider's address may not be used. {fault} {manager}")
    if isinstance(fault, Untrusted | BadRequest):
        return GatewayError(400, f"The provider cannot be asked: {fault}. {manager}")
    if isinstance(fault, Late | TimeoutError):
        return GatewayError(504, f"The provider was too slow: {str(fault) or 'no token in time'}. Try again.")
    return GatewayError(503, f"The provider did not answer properly: {fault}. Try again.", retry_after=2)
