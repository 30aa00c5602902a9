"""The gateway as an ASGI application: authenticates a query, checks its right and its limits, and dispatches it to a provider.

Mounted beside Django in one process (`paths.PREFIXES` are its paths) or run alone. A query reads the snapshot once, reads no
database, and changes only the windows of the rate limits and the usage spool, to which it appends one line.

Why uvicorn, with uvloop and httptools: a bare proxy on one core, nginx and wrk on the other; requests/s with 32 connections (best
run on a machine with other work), median with one, processor time of a request:

                                  client of upstream.py      pyreqwest                  aiohttp
    uvicorn, uvloop, httptools    20,200  0.11 ms  43 us     20,900  0.13 ms  50 us     11,600  0.18 ms  102 us
    granian 2.8, ASGI             14,000  0.17     61        14,500  0.20     73         9,800  0.25     104
    granian 2.8, RSGI             21,900  0.15     46        18,000  0.20     63        11,500  0.22      88
    uvicorn on asyncio and h11                                7,400  0.29

RSGI is no faster for us, and Django beside us needs ASGI. uvicorn also stays one process (41 MB; granian's parent and worker take
74 MB). tests/bench/http_servers.py measures this again. This gateway as its own process, with token, right, two limits and usage on:
15,700, 0.17 ms, 64 us (tests/bench/gateway.py). Of the 64 us the kernel takes 20, a quarter of it to wake other processes; 17
to 21 are our own code (3 for the usage record, 2 for limits, 2 for the upstream request, 1 for counters); the rest is uvloop and
HTTP parsing on both sides.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable
from hashlib import sha256
from itertools import count
from time import monotonic_ns, time

from pydantic_core import to_json

from serving_ui.gateway import errors, inference_request, routing, session_tokens
from serving_ui.gateway.caller import Caller, ClientDisconnected, Receive, Scope, Send
from serving_ui.gateway.connection import CallerDisconnected
from serving_ui.gateway.dispatch import Dispatcher
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.limits import Limits, Reservation
from serving_ui.gateway.paths import OPENAI_PATH, GatewayPath, parse_path
from serving_ui.gateway.query import Attempt, Query
from serving_ui.gateway.record import (
    CLIENT_LEFT,
    FAILED,
    STATUS_CLIENT_CLOSED_REQUEST,
    NullRecorder,
    Recorder,
)
from serving_ui.gateway.redis_connection import RedisAddress
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, SnapshotHolder
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.request import QUERY_BODY, BodyLimit

_log = logging.getLogger("serving_ui.gateway")


class Gateway:
    """The ASGI callable. Call `start` and `stop` once, in the event loop that it answers in."""

    def __init__(
        self,
        holder: SnapshotHolder,
        *,
        client: UpstreamClient | None = None,
        timeouts: Timeouts | None = None,
        recorder: Recorder | None = None,
        redis: RedisAddress | None = None,
        body: BodyLimit = QUERY_BODY,
    ) -> None:
        self.holder = holder
        self._body_limit = body
        self.client = client or UpstreamClient(timeouts=timeouts)
        self._recorder = recorder or NullRecorder()
        self._dispatcher = Dispatcher(self.client)
        self.limits = Limits(holder, redis=redis)
        self._query_counts: defaultdict[str, count[int]] = defaultdict(count)
        """Queries so far, by endpoint id: with one counter for all endpoints a split would follow the pattern of other queries."""

    async def start(self) -> None:
        self.client.start()
        await self.limits.start()

    async def stop(self) -> None:
        await self.limits.stop()
        self.client.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("The gateway answers HTTP requests only.")
        caller = Caller(scope, receive, send)
        try:
            await self._answer(caller)
        except GatewayError as error:
            await caller.respond_error(error)
        except (ClientDisconnected, CallerDisconnected):
            return
        except Exception:  # a bug: the caller still gets an answer, and the log gets the traceback
            _log.exception("The gateway failed on request %s.", caller.request_id.decode())
            shown = caller.request_id.decode()
            await caller.respond_error(
                GatewayError(500, f"The gateway failed. Its log has the reason under request {shown}.")
            )

    async def _answer(self, caller: Caller) -> None:
        snapshot = self.holder.current
        principal = _principal(snapshot, caller.bearer())
        path = parse_path(caller.path)
        if path.is_list:
            await caller.respond(200, to_json(_models(snapshot, principal, path.endpoint)))
            return
        if caller.method != "POST":
            raise errors.invalid("Queries are sent with POST.")
        body = None
        name = path.endpoint
        if name is None:  # an OpenAI path: the body names the endpoint
            body = inference_request.read_body(await caller.body(self._body_limit))
            name = inference_request.endpoint_name(body)
        endpoint = _endpoint(snapshot, principal, name)
        query = Query(snapshot, endpoint, principal, caller, self._recorder)
        try:
            if body is None:
                body = inference_request.read_body(await caller.body(self._body_limit))
            entities = self._entities(endpoint, path)
            query.request = inference_request.parse_request(
                body, task=endpoint.task, is_response=path.is_response
            )
            first = Attempt.of(query, entities[0])
            if endpoint.limits:
                query.reservation = await self._reserve(query)
            await self._dispatcher.answer(first, fallbacks=entities[1:])
        except GatewayError as error:
            query.fail(error)
            raise
        except (ClientDisconnected, CallerDisconnected):
            query.close(STATUS_CLIENT_CLOSED_REQUEST, CLIENT_LEFT, code="CANCELLED")
            raise
        finally:
            if query.is_open:
                query.close(500, FAILED, code="INTERNAL_ERROR")

    def _reserve(self, query: Query) -> Awaitable[Reservation]:
        endpoint, request, counts_tokens = query.endpoint, query.request, query.endpoint.counts_tokens()
        tokens = request.expected_tokens if counts_tokens else 0
        return self.limits.admit(
            endpoint, query.principal, tokens, monotonic_ns(), counts_tokens and request.is_unbounded
        )

    def _entities(self, endpoint: Endpoint, path: GatewayPath) -> tuple[Entity, ...]:
        """The entity that answers, then its fallbacks in their order."""
        if not endpoint.ready or not endpoint.entities:
            why = f" {endpoint.problem}" if endpoint.problem else " Its page shows the progress."
            raise GatewayError(400, f"Endpoint {endpoint.name} is not ready.{why}")
        if path.task is not None and path.task is not endpoint.task:
            raise errors.invalid(_wrong_path(endpoint))
        if path.is_response and endpoint.task is None:
            raise errors.invalid(_wrong_path(endpoint))
        if path.entity is None:
            if len(endpoint.entities) == 1:
                return endpoint.entities
            return routing.candidates(endpoint, query_number=next(self._query_counts[endpoint.id]))
        named = endpoint.entity(path.entity)
        if named is None:
            raise GatewayError(404, f"Endpoint {endpoint.name} has no served entity of that name.")
        return (named,)


def _wrong_path(endpoint: Endpoint) -> str:
    if endpoint.task is None:
        path = f"/serving-endpoints/{endpoint.name}/invocations"
        return f"Endpoint {endpoint.name} serves a model that is no language model. Use the path {path}."
    return f"Endpoint {endpoint.name} has the task {endpoint.task.label}. Use the path {OPENAI_PATH[endpoint.task]}."


def _principal(snapshot: Snapshot, bearer: str) -> Principal:
    """The principal of an access token or session token. Raises GatewayError 401."""
    if bearer.startswith(session_tokens.PREFIX):
        user_id = session_tokens.read_session_token(key=snapshot.session_token_key, value=bearer, now=time())
        known = snapshot.principals.get(user_id) if user_id is not None else None
        if known is not None:
            return known
    elif bearer:
        entry = snapshot.tokens.get(sha256(bearer.encode("latin-1")).digest())
        if entry is not None and (entry.expires_at is None or entry.expires_at > time()):
            return entry.principal
    raise errors.unauthenticated()


def _endpoint(snapshot: Snapshot, principal: Principal, name: str) -> Endpoint:
    """The endpoint if the principal may query it. Raises 403 if it may only be seen, and 404 if it may not be seen or does not exist."""
    endpoint = snapshot.endpoints.get(name)
    if endpoint is not None and endpoint.may_query(principal):
        return endpoint
    if endpoint is not None and endpoint.may_see(principal):
        raise errors.not_queryable(name)
    raise errors.endpoint_not_found(name)


def _models(snapshot: Snapshot, principal: Principal, one: str | None) -> dict[str, object]:
    """The body of OpenAI's list of models: the endpoints that the caller may query, or the one named `one`."""
    if one is not None:
        return _model(_endpoint(snapshot, principal, one).name)
    names = sorted(name for name, endpoint in snapshot.endpoints.items() if endpoint.may_query(principal))
    return {"object": "list", "data": [_model(name) for name in names]}


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "serving-ui"}
