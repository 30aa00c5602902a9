"""Which limits of an endpoint apply to a principal, the windows that they count in, and the sentences of their errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS, LimitKey
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal
from serving_ui.gateway.windows import SECOND_NS, Demand, WindowKey

TOKENS = "tokens"
Demands = Mapping[WindowKey, Demand]


class NotAdmitted(GatewayError):
    """A rate limit refuses the call."""


class PrincipalLimits:
    """The limits of one endpoint that apply to one principal, computed once for each pair of snapshot objects."""

    __slots__ = (
        "_demands_without_tokens",
        "average_undeclared",
        "counts_tokens",
        "endpoint",
        "limits",
        "principal",
        "smallest_token_limit",
    )

    def __init__(self, endpoint: Endpoint, principal: Principal, average_undeclared: int) -> None:
        self.endpoint = endpoint
        self.principal = principal
        self.limits = applicable_limits(endpoint, principal)
        token_limits = [limit.per_minute for limit in self.limits.values() if limit.unit == TOKENS]
        self.counts_tokens = bool(token_limits)
        self.smallest_token_limit = min(token_limits, default=0)
        self.average_undeclared = average_undeclared
        """Tokens that recent calls without a `max_tokens` used beyond the estimate of their input; 0 before the first one."""
        self._demands_without_tokens = None if token_limits else self._demands(1)

    def demands(self, tokens: int) -> Demands:
        """The demand of a call of `tokens` on each window. Raises NotAdmitted if a window can never admit it."""
        if self._demands_without_tokens is not None:
            return self._demands_without_tokens
        return self._demands(tokens)

    def observe(self, undeclared: int) -> None:
        """Add one call to the moving average."""
        average = self.average_undeclared
        self.average_undeclared = average + (undeclared - average) // 4 if average else undeclared

    def _demands(self, tokens: int) -> Demands:
        demands = {
            key: Demand(tokens if limit.unit == TOKENS else 1, limit.per_minute)
            for key, limit in self.limits.items()
        }
        for key, demand in demands.items():
            if demand.amount > demand.per_minute:
                raise exceeds_limit(self.limits[key], demand.amount)
        return demands


def applicable_limits(endpoint: Endpoint, principal: Principal) -> Mapping[WindowKey, Limit]:
    """The strictest limit of each window that a call of this principal is counted in."""
    found: dict[WindowKey, Limit] = {}
    for limit in endpoint.limits:
        owner = _window_owner(limit, principal)
        if owner is not None:
            key = (endpoint.id, owner, limit.unit)
            known = found.get(key)
            if known is None or limit.per_minute < known.per_minute:
                found[key] = limit
    return found


def _window_owner(limit: Limit, principal: Principal) -> str | None:
    """The owner in the limit's window key; None when the limit does not apply to the principal.

    A principal has one window for all limits that apply to it alone, so that a call is counted once.
    """
    key = _key(limit)
    if key.principal_kind is None:
        return ""
    if key.principal_kind == "group":
        return f"g:{limit.principal}" if limit.principal in principal.groups else None
    if key.only_service_principals and principal.kind != "service_principal":
        return None
    return f"p:{principal.id}" if limit.principal in (None, principal.id) else None


def _key(limit: Limit) -> LimitKey:
    """The limit's row in the table. A key that only a later version knows counts as `user`."""
    return LIMIT_KEYS.get(limit.key) or LIMIT_KEYS["user"]


def limit_reached(limit: Limit, wait_ns: int, *, share: int | None = None) -> NotAdmitted:
    """The error of a limit, or of this process's `share` of it, that has room again in `wait_ns` nanoseconds."""
    seconds = max(1, -(-wait_ns // SECOND_NS))
    if limit.per_minute == 0:
        state = f"is 0 {limit.unit} per minute, so it takes no calls. Ask the person who manages it."
    elif share is not None:
        state = (
            f"is {_amount(limit)} per minute. The gateway processes do not count together at the moment, so each enforces its "
            f"share of the limit. The share of this one, {share}, has been reached. Try again in {seconds} s."
        )
    else:
        state = f"is {_amount(limit)} per minute and has been reached. Try again in {seconds} s."
    return NotAdmitted(429, f"The limit {_subject(limit)} {state}", retry_after=seconds)


def exceeds_limit(limit: Limit, tokens: int) -> NotAdmitted:
    """The error of a call that is larger than the limit: 400, since waiting does not help. A limit of 0 has the error of a reached limit."""
    if limit.per_minute == 0:
        return limit_reached(limit, 60 * SECOND_NS)
    return NotAdmitted(
        400,
        f"The request may use up to {tokens} tokens (its text and the most that it lets the model write), and the limit "
        f"{_subject(limit)} is {_amount(limit)} per minute, so it can never be admitted. Send less text or a smaller max_tokens.",
        code="INVALID_PARAMETER_VALUE",
    )


def _subject(limit: Limit) -> str:
    key = _key(limit)
    return key.refused_each if limit.principal is None else key.refused_one.format(name=limit.shown)


def _amount(limit: Limit) -> str:
    return f"{limit.per_minute} {limit.unit if limit.per_minute != 1 else LIMIT_UNITS[limit.unit].singular}"
