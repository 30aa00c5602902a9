"""Rate limits in the shape of the API: calls or tokens a minute, of the endpoint, of users, of a group, of service principals."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StrictInt, model_validator

from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.catalogue.problems import Problem, as_validation_error
from serving_ui.catalogue.translatable import _

MAX_RATE_LIMITS = 100
LIMIT_UNITS = ("calls", "tokens")
LIMIT_KEYS = ("endpoint", "user", "user_group", "service_principal")
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]


class RateLimit(ApiModel):
    """`principal` is an e-mail, the name of a group or an application id; without one each has a limit of their own."""

    calls: Count | None = None
    tokens: Count | None = None
    key: Literal["endpoint", "user", "user_group", "service_principal"] = "endpoint"
    principal: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    renewal_period: Literal["minute"] = "minute"

    @model_validator(mode="after")
    def _counts_something_of_somebody(self) -> Self:
        problems = []
        if self.calls is None and self.tokens is None:
            message = _("A rate limit counts calls or tokens. Give one of the two.")
            problems.append(Problem(("calls",), message, "required"))
        if self.key == "user_group" and self.principal is None:
            problems.append(Problem(("principal",), _("Name the group that shares this limit."), "required"))
        if self.key == "endpoint" and self.principal is not None:
            message = _(
                "A limit of the endpoint concerns everybody. Leave the principal out or choose another key."
            )
            problems.append(Problem(("principal",), message))
        if problems:
            raise as_validation_error(problems)
        return self

    def stored(self) -> dict[str, Any]:
        """What was given and what it means, for the database and for answers."""
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
            whose = f"{limit.key} {limit.principal}" if limit.principal else limit.key
            problems.append(Problem((position, "key"), message.fill(key=whose), "duplicate"))
        seen |= counts
    if problems:
        raise as_validation_error(problems)
    return limits


RateLimits = Annotated[
    list[RateLimit], Field(max_length=MAX_RATE_LIMITS), AfterValidator(_without_duplicates)
]
