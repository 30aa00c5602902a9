"""What governs an endpoint beside its config: AI gateway settings and e-mail notifications, in the shape of the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictInt, ValidationError, model_validator

from serving_ui.catalogue import unknown
from serving_ui.catalogue.entities import Body, Reported
from serving_ui.catalogue.problems import Problem, SpecErrors, as_validation_error, from_validation_error
from serving_ui.catalogue.text import _

MOST_ITEMS = 100
LIMIT_UNITS = ("calls", "tokens")
Word = Annotated[str, Field(min_length=1, max_length=255)]
Words = Annotated[list[Word], Field(max_length=MOST_ITEMS)]
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
Address = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Addresses = Annotated[list[Address], Field(max_length=MOST_ITEMS)]


class Pii(Body):
    behavior: Literal["NONE", "BLOCK", "MASK"] | None = None


class GuardrailParameters(Body):
    invalid_keywords: Words | None = None
    pii: Pii | None = None
    safety: StrictBool | None = None
    valid_topics: Words | None = None


class Guardrails(Body):
    input: GuardrailParameters | None = None
    output: GuardrailParameters | None = None


class InferenceTable(Body):
    catalog_name: Word | None = None
    enabled: StrictBool | None = None
    schema_name: Word | None = None
    table_name_prefix: Word | None = None


class UsageTracking(Body):
    enabled: StrictBool | None = None


class Fallback(Body):
    enabled: StrictBool


class GatewayRateLimit(Body):
    """Calls or tokens a minute: of the endpoint, of each user, or of one principal."""

    calls: Count | None = None
    tokens: Count | None = None
    key: Literal["endpoint", "user", "user_group", "service_principal"] = "endpoint"
    principal: Word | None = None
    renewal_period: Literal["minute"] = "minute"

    @model_validator(mode="after")
    def _counts_something(self) -> Self:
        if self.calls is None and self.tokens is None:
            message = _("A rate limit counts calls or tokens. Give one of the two.")
            raise as_validation_error([Problem(("calls",), message, "required")])
        return self


class AiGateway(Reported):
    fallback_config: Fallback | None = None
    guardrails: Guardrails | None = None
    inference_table_config: InferenceTable | None = None
    rate_limits: Annotated[list[GatewayRateLimit], Field(max_length=MOST_ITEMS)] | None = None
    usage_tracking_config: UsageTracking | None = None

    def stored(self) -> dict[str, Any]:
        """What was given, for the database and for answers."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)

    def without_effect(self) -> list[str]:
        """What is kept and not carried out by this version, by path."""
        switched = {
            "guardrails": self.guardrails,
            "inference_table_config": self.inference_table_config and self.inference_table_config.enabled,
        }
        return [name for name, is_on in switched.items() if is_on]


class EmailNotifications(Reported):
    on_update_failure: Addresses | None = None
    on_update_success: Addresses | None = None

    def stored(self) -> dict[str, Any]:
        """What was given, for the database and for answers."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def parse_ai_gateway(body: object) -> AiGateway:
    """Read AI gateway settings. Raises SpecErrors."""
    try:
        settings = AiGateway.model_validate(body)
    except ValidationError as error:
        problems = from_validation_error(error)
    else:
        settings.remember_unknown(unknown.in_model(AiGateway, body))
        return settings
    raise SpecErrors(problems)


def parse_email_notifications(body: object) -> EmailNotifications:
    """Read e-mail notifications. Raises SpecErrors."""
    try:
        notifications = EmailNotifications.model_validate(body)
    except ValidationError as error:
        problems = from_validation_error(error)
    else:
        notifications.remember_unknown(unknown.in_model(EmailNotifications, body))
        return notifications
    raise SpecErrors([problem.under("email_notifications") for problem in problems])
