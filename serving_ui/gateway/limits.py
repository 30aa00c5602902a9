"""Rate limits: which of an endpoint's limits concern a caller, whether all of them admit a call, and the words of a refusal.

A call is counted once and only when every limit admits it. Tokens are reserved on entry, by an estimate, and settled on exit:
its text and the most that it lets the model write. For a call that names no such most, as many as the same caller's calls of
that kind have come to of late; of callers who are new to this process the first ones can go over by what they write.

Who counts:
- With Redis all processes count in its windows: in any 60 s no more than the limit is admitted, by all of them together, and a
  process that is started again finds what was counted before.
- Without it each process admits its share of a limit: the limit divided by the live gateway processes, the remainder to the
  first of them, so that the shares add up to the limit; one process alone has all of it. A share of 0 refuses. A process that
  is started again has forgotten what it admitted, and one that joins changes the shares: for a minute after that, more than
  the limit can be admitted.
- Each process also counts for itself what it admits through Redis. When Redis goes, that is what it has used of its share; what
  the others used is not known, so in the first minute after the loss up to twice the limit can be admitted.
- When Redis is back, maybe with nothing in it, the shares hold beside it for another minute, so that nothing is admitted twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from time import monotonic_ns

from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.redis_connection import (
    RedisAddress,
    RedisConnection,
    RedisErrorReply,
    RedisUnavailable,
)
from serving_ui.gateway.shared_windows import SharedWindows, Taken
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal, SnapshotHolder
from serving_ui.gateway.windows import SECOND, SPAN, Ask, Full, Name, Windows

_log = logging.getLogger("serving_ui.gateway")
TOKENS = "tokens"
_MAX_PRINCIPALS_CACHED = 10_000
_PAUSES = (0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reach Redis; the last one is repeated
Asks = Mapping[Name, Ask]
Own = list[tuple[Name, list[int]]]


class NotAdmitted(GatewayError):
    """A limit refuses the call."""


class Mode(StrEnum):
    """Who counts at the moment."""

    OWN = "own"
    """This process, for itself and within its share; there is no Redis in the settings."""
    SHARED = "shared"
    """Redis, for all processes."""
    APART = "apart"
    """This process within its share, because Redis cannot be reached."""


class Reservation:
    """What one call has taken of its limits."""

    __slots__ = ("_own", "_principal_limits", "_reserved", "_shared", "_taken", "_told", "_windows")

    def __init__(
        self,
        windows: Windows | None = None,
        own: Own | None = None,
        shared: SharedWindows | None = None,
        taken: Taken | None = None,
        *,
        reserved: int = 0,
        principal_limits: PrincipalLimits | None = None,
        told: int = 0,
    ) -> None:
        """`principal_limits` learns from the call, when it has told no more than `told` tokens."""
        self._windows, self._own = windows, own or []
        self._shared, self._taken = shared, taken
        self._reserved = reserved
        self._principal_limits, self._told = principal_limits, told

    def settle(self, tokens: int, *, may_be_more: bool = False, now: int | None = None) -> None:
        """Say how many tokens the call really used: 0 when no model was asked. The call itself stays counted.

        Nothing of what was reserved is given back when it `may_be_more`.
        """
        used, own, taken = max(tokens, self._reserved if may_be_more else 0), self._own, self._taken
        self._own, self._taken = [], None
        if self._principal_limits is not None and used:
            self._principal_limits.learn(max(used - self._told, 0))
        if self._windows is not None and own:
            when = monotonic_ns() if now is None else now
            self._windows.settle(own, reserved=self._reserved, used=used, now=when)
        if self._shared is not None and taken is not None:
            self._shared.settle(taken, reserved=self._reserved, used=used)


_NOTHING = Reservation()


class PrincipalLimits:
    """What an endpoint's limits mean for one principal."""

    __slots__ = ("_asks", "counts_tokens", "endpoint", "least", "limits", "principal", "usual")

    def __init__(self, endpoint: Endpoint, principal: Principal, usual: int) -> None:
        self.endpoint = endpoint
        self.principal = principal
        self.limits = applicable_limits(endpoint, principal)
        tokens = [limit.most for limit in self.limits.values() if limit.unit == TOKENS]
        self.counts_tokens = bool(tokens)
        self.least = min(tokens, default=0)
        self.usual = usual
        self._asks = None if tokens else self._asked(1)

    def asks(self, tokens: int) -> Asks:
        """What a call asks of the windows. Raises GatewayError when one of them can never admit it."""
        return self._asks if self._asks is not None else self._asked(tokens)

    def _asked(self, tokens: int) -> Asks:
        asks = {
            name: Ask(tokens if limit.unit == TOKENS else 1, limit.most)
            for name, limit in self.limits.items()
        }
        for name, ask in asks.items():
            if ask.amount > ask.most:
                raise never(self.limits[name], ask.amount)
        return asks

    def learn(self, beyond: int) -> None:
        """What a call came to beyond what it told."""
        self.usual = self.usual + (beyond - self.usual) // 4 if self.usual else beyond


class Limits:
    """Admits calls. `now` is a monotonic time in whole nanoseconds. `start` and `stop` in the loop that it is used in."""

    def __init__(self, holder: SnapshotHolder | None = None, *, redis: RedisAddress | None = None) -> None:
        self._holder = holder or SnapshotHolder()
        self._windows = Windows()
        self._by_principal: dict[tuple[str, str], PrincipalLimits] = {}
        self._redis = redis
        self._shared: SharedWindows | None = None
        self._apart_until = 0
        self._keeper: asyncio.Task[None] | None = None
        self._say(Mode.OWN if redis is None else Mode.APART)

    async def start(self) -> None:
        """Returns once Redis has been reached, or has not been at the first attempt."""
        if self._redis is not None:
            met = asyncio.Event()
            self._keeper = asyncio.get_running_loop().create_task(self._keep(self._redis, met))
            await met.wait()

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._shared is not None:
            self._shared.line.close()

    async def admit(
        self, endpoint: Endpoint, principal: Principal, tokens: int, now: int, is_open: bool = False
    ) -> Reservation:
        """Count one call and reserve `tokens`, or raise the GatewayError that says which limit refuses.

        `is_open` means that the call does not tell the most that it may use.
        """
        if not endpoint.limits:
            return _NOTHING
        told = max(tokens, 1)
        principal_limits = self._principal_limits(endpoint, principal)
        reserved = told
        if is_open and principal_limits.usual:  # but an estimate alone makes no call too large for its limit
            reserved = max(
                told, min(told + principal_limits.usual, principal_limits.least // self._dividers(now))
            )
        asks, shared, taken = principal_limits.asks(reserved), self._shared, None
        if not asks:
            return _NOTHING
        if shared is None:
            own = self._within_share(asks, principal_limits.limits, now)
        else:
            own, taken = await self._counted(shared, asks, principal_limits.limits, now)
        if not principal_limits.counts_tokens:
            return _NOTHING
        tokens_only = [each for each in own if each[0][2] == TOKENS]
        return Reservation(
            self._windows,
            tokens_only,
            shared,
            taken and taken.only(TOKENS),
            reserved=reserved,
            principal_limits=principal_limits if is_open else None,
            told=told,
        )

    def _dividers(self, now: int) -> int:
        """How many processes divide a limit among them at the moment."""
        return 1 if self._shared is not None and now >= self._apart_until else self._holder.standing[1]

    def _principal_limits(self, endpoint: Endpoint, principal: Principal) -> PrincipalLimits:
        """Remembered, because both stay what they are for thousands of calls; a new snapshot brings others."""
        key = (endpoint.id, principal.id)
        held = self._by_principal.get(key)
        if held is None or held.endpoint is not endpoint or held.principal is not principal:
            if len(self._by_principal) >= _MAX_PRINCIPALS_CACHED:
                self._by_principal.clear()
            held = self._by_principal[key] = PrincipalLimits(endpoint, principal, held.usual if held else 0)
        return held

    async def _counted(
        self, shared: SharedWindows, asks: Asks, limits: Mapping[Name, Limit], now: int
    ) -> tuple[Own, Taken | None]:
        """The call in the windows of this process and, if it can be reached, in those of Redis."""
        own = self._within_share(asks, limits, now) if now < self._apart_until else None
        try:
            said = await shared.take(asks)
        except (RedisUnavailable, RedisErrorReply) as away:
            shared.line.close(str(away))
            return own or self._within_share(asks, limits, now), None
        if isinstance(said, Full):
            for name, entry in own or ():
                self._windows.give_back(name, entry, asks[name].amount)
            raise refusal(limits[said.name], said.wait)
        return own or self._windows.count(asks, now), said

    def _within_share(self, asks: Asks, limits: Mapping[Name, Limit], now: int) -> Own:
        """Count the call if this process may still admit it."""
        place, processes = self._holder.standing
        if processes > 1:
            asks = {
                name: Ask(ask.amount, ask.most // processes + (place < ask.most % processes))
                for name, ask in asks.items()
            }
        said = self._windows.take(asks, now)
        if isinstance(said, Full):
            share = asks[said.name].most if processes > 1 else None
            raise refusal(limits[said.name], said.wait, share=share)
        return said

    async def _keep(self, address: RedisAddress, met: asyncio.Event) -> None:
        """Keeps a connection, as long as the gateway runs."""
        failed = 0
        while True:
            try:
                shared = SharedWindows(await RedisConnection.open(address))
                await shared.prepare()
            except (RedisUnavailable, RedisErrorReply) as away:
                if not failed:
                    _log.warning("Rate limits: each process admits its share, because %s.", away)
                met.set()
                await asyncio.sleep(_PAUSES[min(failed, len(_PAUSES) - 1)])
                failed += 1
                continue
            if met.is_set():
                self._apart_until = monotonic_ns() + SPAN
                _log.warning("Rate limits: Redis at %s is back; the shares hold for another minute.", address)
            failed, self._shared = 0, shared
            self._say(Mode.SHARED)
            met.set()
            why = await shared.line.ended
            self._shared = None
            self._say(Mode.APART)
            _log.warning("Rate limits: each process admits its share, because %s.", why)

    def _say(self, mode: Mode) -> None:
        self._holder.limits = mode.value


def applicable_limits(endpoint: Endpoint, principal: Principal) -> Mapping[Name, Limit]:
    """The strictest limit of each window that a call of this principal is counted in."""
    found: dict[Name, Limit] = {}
    for limit in endpoint.limits:
        whose = _whose(limit, principal)
        if whose is not None:
            name = (endpoint.id, whose, limit.unit)
            known = found.get(name)
            if known is None or limit.most < known.most:
                found[name] = limit
    return found


def _whose(limit: Limit, principal: Principal) -> str | None:
    """Whose window the limit looks at; None when it does not concern the principal.

    A principal has one window, whichever limits look at it, so that a call is counted once.
    """
    match limit.key:
        case "endpoint":
            return ""
        case "user_group":
            return f"g:{limit.principal}" if limit.principal in principal.groups else None
        case "service_principal" if principal.kind != "service_principal":
            return None
    return f"p:{principal.id}" if limit.principal in (None, principal.id) else None


def refusal(limit: Limit, wait: int, *, share: int | None = None) -> NotAdmitted:
    """The limit, or the share of it that this process may admit, is used up for `wait` nanoseconds."""
    seconds = max(1, -(-wait // SECOND))
    if limit.most == 0:
        what = f"is 0 {limit.unit} per minute, so it takes no calls. Ask the person who manages it."
    elif share is not None:
        what = (
            f"is {_amount(limit)} per minute. As gateway processes cannot count together at the moment, each admits its "
            f"share, and this one's, {share}, has been reached. Try again in {seconds} s."
        )
    else:
        what = f"is {_amount(limit)} per minute and has been reached. Try again in {seconds} s."
    return NotAdmitted(429, f"The limit {_of(limit)} {what}", retry_after=seconds)


def never(limit: Limit, tokens: int) -> NotAdmitted:
    """The call is larger than the limit, so waiting does not help. A limit of 0 is a limit like others."""
    if limit.most == 0:
        return refusal(limit, 60 * SECOND)
    return NotAdmitted(
        400,
        f"The request may use up to {tokens} tokens (its text and the most that it lets the model write), and the limit "
        f"{_of(limit)} is {_amount(limit)} per minute, so it can never be admitted. Send less text or a smaller max_tokens.",
        code="INVALID_PARAMETER_VALUE",
    )


def _of(limit: Limit) -> str:
    match limit.key, limit.principal:
        case "endpoint", _:
            return "of this endpoint"
        case "user_group", _:
            return f"for the group {limit.shown} at this endpoint"
        case _, None:
            return "for each user of this endpoint"
    return f"for {limit.shown} at this endpoint"


def _amount(limit: Limit) -> str:
    return f"{limit.most} {limit.unit if limit.most != 1 else limit.unit[:-1]}"
