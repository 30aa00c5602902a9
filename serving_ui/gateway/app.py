"""The gateway as an ASGI application: who asks, what, may they, how often; then the provider is asked and its answer relayed.

Mounted beside Django in one process (`handles` says which paths are its own) or run alone. One request reads the snapshot once,
touches no database, and changes nothing but the windows of the rate limits and, by one line, the recorder.

Why uvicorn, with uvloop and httptools: a bare proxy on one core, nginx and wrk on the other; requests/s with 32 connections (the
best seen on a machine that does other things too), median with one, processor time of a request:

                                  client of upstream.py      pyreqwest                  aiohttp
    uvicorn, uvloop, httptools    20,200  0.11 ms  43 us     20,900  0.13 ms  50 us     11,600  0.18 ms  102 us
    granian 2.8, ASGI             14,000  0.17     61        14,500  0.20     73         9,800  0.25     104
    granian 2.8, RSGI             21,900  0.15     46        18,000  0.20     63        11,500  0.22      88
    uvicorn on asyncio and h11                                7,400  0.29

RSGI is no faster for us, and Django beside us needs ASGI. This gateway as its own process, with token, right, two limits and usage
on: 15,700, 0.17 ms, 64 us (tests/bench/gateway.py). Of these the system takes 20, a quarter of it for waking others; 17 to 21 are our own
code (3 the record with its line, 2 limits, 2 the provider's request, 1 counts); the rest is uvloop, parsing, and both sides' HTTP.
uvicorn also stays one process (41 MB against 74 MB for granian's parent and worker). tests/bench/servers.py makes the table again.
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
from serving_ui.gateway import query as ends
from serving_ui.gateway.caller import Caller, ClientDisconnected, Receive, Scope, Send
from serving_ui.gateway.connection import CallerGone
from serving_ui.gateway.dispatch import Dispatcher
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.inference_request import Address
from serving_ui.gateway.limits import Limits, Reservation
from serving_ui.gateway.query import Attempt, Query
from serving_ui.gateway.record import NullRecorder, Recorder
from serving_ui.gateway.redis_connection import RedisAddress
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, SnapshotHolder
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.request import QUERY_BODY, BodyLimit

_log = logging.getLogger("serving_ui.gateway")

handles = inference_request.handles


class Gateway:
    """The ASGI callable. `start` and `stop` once, in the event loop that it answers in."""

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
        self._body = body
        self.client = client or UpstreamClient(timeouts=timeouts)
        self._recorder = recorder or NullRecorder()
        self._dispatcher = Dispatcher(self.client)
        self.limits = Limits(holder, redis=redis)
        self._turns: defaultdict[str, count[int]] = defaultdict(count)

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
            await caller.refuse(error)
        except (ClientDisconnected, CallerGone):
            return
        except Exception:  # the outermost edge: the caller gets an answer, the log gets the reason
            _log.exception("The gateway failed on request %s.", caller.request_id.decode())
            shown = caller.request_id.decode()
            await caller.refuse(
                GatewayError(500, f"The gateway itself failed. Its log has the reason under request {shown}.")
            )

    async def _answer(self, caller: Caller) -> None:
        snapshot = self.holder.current
        principal = _principal(snapshot, caller.bearer())
        known = len(caller.path) <= inference_request.LONGEST_PATH
        address = (inference_request.read_path if known else inference_request.read_path.__wrapped__)(
            caller.path
        )
        if address.is_list:
            await caller.answer(200, to_json(_models(snapshot, principal, address.endpoint)))
            return
        if caller.method != "POST":
            raise errors.invalid("Queries are sent with POST.")
        content = None
        name = address.endpoint
        if name is None:  # the body names it
            content = inference_request.read_body(await caller.body(self._body))
            name = inference_request.endpoint_named(content)
        endpoint = _endpoint(snapshot, principal, name)
        query = Query(snapshot, endpoint, principal, caller, self._recorder)
        try:
            if content is None:
                content = inference_request.read_body(await caller.body(self._body))
            entities = self._entities(endpoint, address)
            query.request = inference_request.parse_request(
                content, task=endpoint.task, is_response=address.is_response
            )
            first = Attempt.of(query, entities[0])
            if endpoint.limits:
                query.reservation = await self._reserve(query)
            await self._dispatcher.answer(first, fallbacks=entities[1:])
        except GatewayError as error:
            query.fail(error)
            raise
        except (ClientDisconnected, CallerGone):
            query.close(ends.CALLER_LEFT, ends.LEFT, code="CANCELLED")
            raise
        finally:
            if query.is_open:
                query.close(500, ends.FAILED, code="INTERNAL_ERROR")

    def _reserve(self, query: Query) -> Awaitable[Reservation]:
        endpoint, asked, counts = query.endpoint, query.request, query.endpoint.counts_tokens()
        tokens = asked.tokens if counts else 0
        return self.limits.admit(endpoint, query.principal, tokens, monotonic_ns(), counts and asked.is_open)

    def _entities(self, endpoint: Endpoint, address: Address) -> tuple[Entity, ...]:
        """Whom to ask, in this order."""
        if not endpoint.ready or not endpoint.entities:
            why = f" {endpoint.problem}" if endpoint.problem else " Its page shows how far it is."
            raise GatewayError(400, f"Endpoint {endpoint.name} is not ready.{why}")
        if address.task is not None and address.task is not endpoint.task:
            raise errors.invalid(
                f"Endpoint {endpoint.name} has the task {endpoint.task.label}. Use the path {inference_request.PATHS[endpoint.task]}."
            )
        if address.entity is None:
            if len(endpoint.entities) == 1:
                return endpoint.entities
            # Each endpoint has its own: one counter for all would give one model whatever comes in step with others' queries.
            return routing.candidates(endpoint, turn=next(self._turns[endpoint.id]))
        named = endpoint.entity(address.entity)
        if named is None:
            raise GatewayError(404, f"Endpoint {endpoint.name} has no served entity of that name.")
        return (named,)


def _principal(snapshot: Snapshot, bearer: str) -> Principal:
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
    endpoint = snapshot.endpoints.get(name)
    if endpoint is not None and endpoint.may_query(principal):
        return endpoint
    if endpoint is not None and endpoint.may_see(principal):
        raise errors.not_queryable(name)
    raise errors.no_endpoint(name)


def _models(snapshot: Snapshot, principal: Principal, one: str | None) -> dict[str, object]:
    """What the caller may query, or the one that is asked for."""
    if one is not None:
        return _model(_endpoint(snapshot, principal, one).name)
    names = sorted(name for name, endpoint in snapshot.endpoints.items() if endpoint.may_query(principal))
    return {"object": "list", "data": [_model(name) for name in names]}


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "serving-ui"}
