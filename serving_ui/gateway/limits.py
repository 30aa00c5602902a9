"""Rate limits: admits a call when every limit that applies to it has room, and counts it once.

Tokens are reserved before the call, by an estimate of its input plus the most that it lets the model write, and settled after it
by what was used. If the call sets no `max_tokens`, the average of the same principal's recent calls of that kind is reserved; a
principal's first calls at this process can therefore exceed a token limit by what the model writes.

Who counts (`Mode`):
- With Redis all processes count in its windows: in any 60 s they together admit no more than the limit, and a restarted process
  finds what was counted before.
- Without Redis each process admits its share of a limit: the limit divided by the number of live gateway processes, the
  remainder to the first of them, so that the shares add up to the limit. A share of 0 refuses. A restarted process has forgotten
  what it admitted, and a new one changes the shares: for a minute after either, more than the limit can be admitted.
- Each process also counts in its own windows what it admits through Redis. When Redis becomes unreachable, those windows hold
  what this process has used of its share, but not what the others used: in the first minute up to twice the limit can be admitted.
- When Redis is reachable again, perhaps empty, the shares are enforced beside it for another minute, so that nothing is admitted twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from time import monotonic_ns

from serving_ui.gateway.principal_limits import TOKENS, Demands, PrincipalLimits, limit_reached
from serving_ui.gateway.redis_connection import (
    RedisAddress,
    RedisConnection,
    RedisErrorReply,
    RedisUnavailable,
)
from serving_ui.gateway.shared_windows import SharedEntries, SharedWindows
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal, SnapshotHolder
from serving_ui.gateway.windows import WINDOW_NS, Demand, WindowFull, WindowKey, Windows

_log = logging.getLogger("serving_ui.gateway")
_MAX_PRINCIPALS_CACHED = 10_000
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)  # pauses between attempts to reach Redis; the last one is repeated
LocalEntries = list[tuple[WindowKey, list[int]]]


class Mode(StrEnum):
    """Where calls are counted now. The values are labels of the metric `serving_ui_limits_mode` and stored per process."""

    NO_REDIS = "own"
    """In this process, within its share; no Redis is configured."""
    SHARED = "shared"
    """In Redis, for all processes."""
    REDIS_DOWN = "apart"
    """In this process, within its share, because Redis is unreachable."""


class Limits:
    """Admits calls. `start` and `stop` in the event loop that it is used in. `now` is a monotonic time in nanoseconds."""

    def __init__(self, holder: SnapshotHolder | None = None, *, redis: RedisAddress | None = None) -> None:
        self._holder = holder or SnapshotHolder()
        self._windows = Windows()
        self._by_principal: dict[tuple[str, str], PrincipalLimits] = {}
        self._redis = redis
        self._redis_task: asyncio.Task[None] | None = None
        self._shared: SharedWindows | None = None
        self._shares_until = 0
        """Until then the shares are enforced beside Redis, because it has just become reachable again."""
        self._set_mode(Mode.NO_REDIS if redis is None else Mode.REDIS_DOWN)

    async def start(self) -> None:
        """Returns after the first attempt to reach Redis, successful or not."""
        if self._redis is not None:
            attempted = asyncio.Event()
            self._redis_task = asyncio.get_running_loop().create_task(
                self._stay_connected(self._redis, attempted)
            )
            await attempted.wait()

    async def stop(self) -> None:
        if self._redis_task is not None:
            self._redis_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._redis_task
        if self._shared is not None:
            self._shared.connection.close()

    async def admit(
        self, endpoint: Endpoint, principal: Principal, tokens: int, now: int, is_unbounded: bool = False
    ) -> Reservation:
        """Count one call and reserve `tokens`. Raises the GatewayError of the limit that refuses it.

        `is_unbounded`: the call does not limit what the model may write.
        """
        if not endpoint.limits:
            return _NO_RESERVATION
        declared = max(tokens, 1)
        principal_limits = self._principal_limits(endpoint, principal)
        reserved = declared
        if is_unbounded and principal_limits.average_undeclared:
            # The average alone must not make a call exceed its limit.
            fitting = principal_limits.smallest_token_limit // self._share_count(now)
            reserved = max(declared, min(declared + principal_limits.average_undeclared, fitting))
        demands, shared, shared_entries = principal_limits.demands(reserved), self._shared, None
        if not demands:
            return _NO_RESERVATION
        if shared is None:
            local = self._admit_local(demands, principal_limits.limits, now)
        else:
            local, shared_entries = await self._admit_shared(shared, demands, principal_limits.limits, now)
        if not principal_limits.counts_tokens:
            return _NO_RESERVATION
        return Reservation(
            self._windows,
            [entry for entry in local if entry[0][2] == TOKENS],
            shared,
            shared_entries and shared_entries.only(TOKENS),
            reserved=reserved,
            declared=declared,
            principal_limits=principal_limits if is_unbounded else None,
        )

    def _principal_limits(self, endpoint: Endpoint, principal: Principal) -> PrincipalLimits:
        """Cached until a new snapshot brings another endpoint or principal object; the average survives that."""
        key = (endpoint.id, principal.id)
        cached = self._by_principal.get(key)
        if cached is None or cached.endpoint is not endpoint or cached.principal is not principal:
            if len(self._by_principal) >= _MAX_PRINCIPALS_CACHED:
                self._by_principal.clear()
            average = cached.average_undeclared if cached else 0
            cached = self._by_principal[key] = PrincipalLimits(endpoint, principal, average)
        return cached

    def _share_count(self, now: int) -> int:
        """How many processes divide a limit among them at the moment."""
        return 1 if self._shared is not None and now >= self._shares_until else self._holder.rank_and_count[1]

    def _admit_local(self, demands: Demands, limits: Mapping[WindowKey, Limit], now: int) -> LocalEntries:
        """Count the call within this process's share of each limit. Raises NotAdmitted."""
        rank, count = self._holder.rank_and_count
        if count > 1:
            demands = {
                key: Demand(demand.amount, demand.per_minute // count + (rank < demand.per_minute % count))
                for key, demand in demands.items()
            }
        result = self._windows.admit(demands, now)
        if isinstance(result, WindowFull):
            share = demands[result.key].per_minute if count > 1 else None
            raise limit_reached(limits[result.key], result.wait_ns, share=share)
        return result

    async def _admit_shared(
        self, shared: SharedWindows, demands: Demands, limits: Mapping[WindowKey, Limit], now: int
    ) -> tuple[LocalEntries, SharedEntries | None]:
        """Count the call in the windows of this process and in those of Redis; only locally if Redis is lost meanwhile."""
        local = self._admit_local(demands, limits, now) if now < self._shares_until else None
        try:
            result = await shared.admit(demands)
        except (RedisUnavailable, RedisErrorReply) as problem:
            shared.connection.close(str(problem))
            return local or self._admit_local(demands, limits, now), None
        if isinstance(result, WindowFull):
            for key, entry in local or ():
                self._windows.cancel(key, entry, demands[key].amount)
            raise limit_reached(limits[result.key], result.wait_ns)
        return local or self._windows.count(demands, now), result

    async def _stay_connected(self, address: RedisAddress, attempted: asyncio.Event) -> None:
        """Connects to Redis again whenever the connection is lost, until it is cancelled."""
        failures = 0
        while True:
            try:
                shared = SharedWindows(await RedisConnection.open(address))
                await shared.prepare()
            except (RedisUnavailable, RedisErrorReply) as problem:
                if not failures:
                    _log.warning("Rate limits: each process admits its share, because %s.", problem)
                attempted.set()
                await asyncio.sleep(_RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)])
                failures += 1
                continue
            if attempted.is_set():
                self._shares_until = monotonic_ns() + WINDOW_NS
                _log.warning(
                    "Rate limits: Redis at %s is reachable again; for another minute each process also enforces its share.",
                    address,
                )
            failures, self._shared = 0, shared
            self._set_mode(Mode.SHARED)
            attempted.set()
            reason = await shared.connection.closed
            self._shared = None
            self._set_mode(Mode.REDIS_DOWN)
            _log.warning("Rate limits: each process admits its share, because %s.", reason)

    def _set_mode(self, mode: Mode) -> None:
        self._holder.limits_mode = mode.value


class Reservation:
    """The tokens that one call has reserved in its windows. `settle` once."""

    __slots__ = (
        "_declared",
        "_local_entries",
        "_principal_limits",
        "_reserved",
        "_shared",
        "_shared_entries",
        "_windows",
    )

    def __init__(
        self,
        windows: Windows | None = None,
        local_entries: LocalEntries | None = None,
        shared: SharedWindows | None = None,
        shared_entries: SharedEntries | None = None,
        *,
        reserved: int = 0,
        declared: int = 0,
        principal_limits: PrincipalLimits | None = None,
    ) -> None:
        """`declared`: tokens by the call's own numbers. `principal_limits` observes what it uses beyond that, if given."""
        self._windows, self._local_entries = windows, local_entries or []
        self._shared, self._shared_entries = shared, shared_entries
        self._reserved, self._declared = reserved, declared
        self._principal_limits = principal_limits

    def settle(self, tokens: int, *, may_be_more: bool = False, now: int | None = None) -> None:
        """Count `tokens` in place of the reservation: 0 when no model was asked. The call itself stays counted.

        `may_be_more`: the model may have written more than is known, so nothing of the reservation is given back.
        """
        used = max(tokens, self._reserved if may_be_more else 0)
        local, shared_entries = self._local_entries, self._shared_entries
        self._local_entries, self._shared_entries = [], None
        if self._principal_limits is not None and used:
            self._principal_limits.observe(max(used - self._declared, 0))
        if self._windows is not None and local:
            when = monotonic_ns() if now is None else now
            self._windows.settle(local, reserved=self._reserved, used=used, now=when)
        if self._shared is not None and shared_entries is not None:
            self._shared.settle(shared_entries, reserved=self._reserved, used=used)


_NO_RESERVATION = Reservation()
