"""Rate limits: which of an endpoint's limits concern a caller, whether all of them admit a call, and the words of a refusal.

A call is counted once and only when every limit admits it. Tokens are reserved on entry, by an estimate, and settled on exit.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns

from serving_ui.gateway.errors import GatewayError, invalid
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal
from serving_ui.gateway.windows import SECOND, Ask, Name, Windows

TOKENS = "tokens"


class Reservation:
    """What one call has taken of its limits."""

    __slots__ = ("_reserved", "_taken", "_windows")

    def __init__(
        self,
        windows: Windows | None = None,
        taken: list[tuple[Name, list[int]]] | None = None,
        reserved: int = 0,
    ) -> None:
        self._windows = windows
        self._taken = taken or []
        self._reserved = reserved

    def settle(self, tokens: int, *, now: int | None = None) -> None:
        """Say how many tokens the call really used: 0 when no model was asked. The call itself stays counted."""
        if self._windows is not None and self._taken:
            when = monotonic_ns() if now is None else now
            self._windows.settle(self._taken, reserved=self._reserved, used=max(tokens, 0), now=when)
            self._taken = []


_NOTHING = Reservation()


class Limits:
    """Admits calls. `now` is a monotonic time in whole nanoseconds."""

    def __init__(self) -> None:
        self._windows = Windows()

    async def admit(self, *, endpoint: Endpoint, principal: Principal, tokens: int, now: int) -> Reservation:
        """Count one call and reserve `tokens`, or raise the GatewayError that says which limit refuses."""
        if not endpoint.limits:
            return _NOTHING
        reserved = max(tokens, 1)
        concerned = concerning(endpoint, principal)
        asks = {
            name: Ask(reserved if limit.unit == TOKENS else 1, limit.most)
            for name, limit in concerned.items()
        }
        for name, ask in asks.items():
            if ask.amount > ask.most:
                raise never(concerned[name], ask.amount)
        full = self._windows.look(asks, now)
        if full is not None:
            raise refusal(concerned[full.name], full.wait)
        taken = self._windows.take(asks, now)
        return Reservation(self._windows, [each for each in taken if each[0][2] == TOKENS], reserved)


def concerning(endpoint: Endpoint, principal: Principal) -> Mapping[Name, Limit]:
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


def refusal(limit: Limit, wait: int) -> GatewayError:
    """The limit is used up for `wait` nanoseconds."""
    seconds = max(1, -(-wait // SECOND))
    if limit.most == 0:
        what = f"is 0 {limit.unit} per minute, so it takes no calls. Ask the person who manages it."
    else:
        what = f"is {_amount(limit)} per minute and has been reached. Try again in {seconds} s."
    return GatewayError(429, f"The limit {_of(limit)} {what}", retry_after=seconds)


def never(limit: Limit, tokens: int) -> GatewayError:
    """The call is larger than the limit, so waiting does not help. A limit of 0 is a limit like others."""
    if limit.most == 0:
        return refusal(limit, 60 * SECOND)
    return invalid(
        f"The request may use up to {tokens} tokens (its text and the most that it lets the model write), and the limit "
        f"{_of(limit)} is {_amount(limit)} per minute, so it can never be admitted. Send less text or a smaller max_tokens."
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
