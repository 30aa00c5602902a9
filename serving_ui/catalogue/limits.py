"""Rate limits in the format of the API: calls or tokens per minute, for an endpoint, users, a group or service principals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, StrictInt, model_validator

from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS, RENEWAL_PERIOD
from serving_ui.catalogue.problems import Problem, as_validation_error
from serving_ui.catalogue.translatable import _

MAX_RATE_LIMITS = 100
if TYPE_CHECKING:
    Key: TypeAlias = str
    Period: TypeAlias = str
else:
    Key, Period = Literal[tuple(LIMIT_KEYS)], Literal[RENEWAL_PERIOD]
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]


class RateLimit(ApiModel):
    """`principal` is an e-mail, the name of a group or an application id; without one each has a limit of their own."""

    calls: Annotated[
        Count | None, Field(description="Maximum number of calls in any minute. 0 admits none.")
    ] = None
    tokens: Annotated[
        Count | None,
        Field(
            description="Maximum number of tokens, input and output together, in any minute. Give calls, tokens or both."
        ),
    ] = None
    key: Annotated[
        Key,
        Field(
            description="Whose calls are counted: those of the whole endpoint, of each user or one user, of a group together, or of service principals."
        ),
    ] = "endpoint"
    principal: Annotated[
        Annotated[str, Field(min_length=1, max_length=255)] | None,
        Field(
            description="E-mail of the user, name of the group, or application id of the service principal. Without it, the limit applies to each user or service principal separately."
        ),
    ] = None
    renewal_period: Annotated[Period, Field(description="The time window of the limit.")] = RENEWAL_PERIOD

    @model_validator(mode="after")
    def _check_unit_and_principal(self) -> Self:
        problems = []
        if all(getattr(self, unit) is None for unit in LIMIT_UNITS):
            message = _("A rate limit counts calls or tokens. Give one of the two.")
            problems.append(Problem(("calls",), message, "required"))
        kind = LIMIT_KEYS[self.key]
        if kind.needs_principal and self.principal is None:
            problems.append(Problem(("principal",), _("Name the group that shares this limit."), "required"))
        if kind.principal_kind is None and self.principal is not None:
            message = _(
                "A limit with the key endpoint has no principal. Leave the principal out or choose another key."
            )
            problems.append(Problem(("principal",), message))
        if problems:
            raise as_validation_error(problems)
        return self

    def stored(self) -> dict[str, Any]:
        """The fields that were set and the defaults, for the database and for API responses."""
        return self.model_dump(mode="json", exclude_none=True)


def _without_duplicates(limits: list[RateLimit]) -> list[RateLimit]:
    seen: set[tuple[str, str, str]] = set()
    problems = []
    for position, limit in enumerate(limits):
        counts = {
            (limit.key, (limit.principal or "").lower(), unit)
            for unit in LIMIT_UNITS
            if getattr(limit, unit) is not None
        }
        if counts & seen:
            message = _("There is more than one rate limit for %(key)s. Give one at most.")
            subject = f"{limit.key} {limit.principal}" if limit.principal else limit.key
            problems.append(Problem((position, "key"), message.fill(key=subject), "duplicate"))
        seen |= counts
    if problems:
        raise as_validation_error(problems)
    return limits


RateLimits = Annotated[
    list[RateLimit], Field(max_length=MAX_RATE_LIMITS), AfterValidator(_without_duplicates)
]
