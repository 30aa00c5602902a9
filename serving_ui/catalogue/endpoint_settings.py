"""Settings of an endpoint outside of its config, in the format of the API: AI gateway, e-mail notifications, timeouts."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from serving_ui.catalogue.api_model import ApiModel, RequestBody
from serving_ui.catalogue.limits import MAX_RATE_LIMITS, RateLimit
from serving_ui.catalogue.problems import Problem, as_validation_error
from serving_ui.catalogue.translatable import _

MAX_ITEMS = 100
MAX_SECONDS = 3600
# The timeouts of an endpoint that sets none.
CONNECT_SECONDS, FIRST_BYTE_SECONDS, TOTAL_SECONDS = 5.0, 60.0, 297.0
ShortText = Annotated[str, Field(min_length=1, max_length=255)]
ShortTexts = Annotated[list[ShortText], Field(max_length=MAX_ITEMS)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
EmailAddress = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
EmailAddresses = Annotated[list[EmailAddress], Field(max_length=MAX_ITEMS)]


class Pii(ApiModel):
    behavior: Literal["NONE", "BLOCK", "MASK"] | None = None


class GuardrailParameters(ApiModel):
    invalid_keywords: ShortTexts | None = None
    pii: Pii | None = None
    safety: StrictBool | None = None
    valid_topics: ShortTexts | None = None


class Guardrails(ApiModel):
    input: GuardrailParameters | None = None
    output: GuardrailParameters | None = None


class InferenceTable(ApiModel):
    catalog_name: ShortText | None = None
    enabled: StrictBool | None = None
    schema_name: ShortText | None = None
    table_name_prefix: ShortText | None = None


class UsageTracking(ApiModel):
    enabled: StrictBool | None = None


class Fallback(ApiModel):
    enabled: StrictBool


class AiGateway(RequestBody):
    fallback_config: Annotated[
        Fallback | None,
        Field(
            description="If a served entity answers 408, 424, 429 or 5xx or not at all, the query goes to the next served entity in the listed order, to two others at most. The first one may have processed the query, so it can be billed twice."
        ),
    ] = None
    guardrails: Annotated[
        Guardrails | None, Field(description="Stored and returned; not enforced in this version.")
    ] = None
    inference_table_config: Annotated[
        InferenceTable | None, Field(description="Stored and returned; no table is written in this version.")
    ] = None
    rate_limits: Annotated[
        Annotated[list[RateLimit], Field(max_length=MAX_RATE_LIMITS)] | None,
        Field(description="Enforced in addition to the endpoint's own rate limits."),
    ] = None
    usage_tracking_config: Annotated[UsageTracking | None, Field(description="Usage is always tracked.")] = (
        None
    )

    def stored(self) -> dict[str, Any]:
        """The fields that were set, for the database and for API responses."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)

    def without_effect(self) -> list[str]:
        """The settings that are stored but have no effect in this version, by path."""
        settings = {
            "guardrails": self.guardrails,
            "inference_table_config": self.inference_table_config and self.inference_table_config.enabled,
        }
        return [name for name, is_on in settings.items() if is_on]


class EmailNotifications(RequestBody):
    on_update_failure: Annotated[
        EmailAddresses | None,
        Field(
            description="E-mail addresses to notify when an update fails. No e-mail is sent in this version."
        ),
    ] = None
    on_update_success: Annotated[
        EmailAddresses | None,
        Field(
            description="E-mail addresses to notify when an update succeeds. No e-mail is sent in this version."
        ),
    ] = None

    def stored(self) -> dict[str, Any]:
        """The fields that were set, for the database and for API responses."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


class Timeouts(RequestBody):
    """How long the gateway waits for a provider. Defaults: 5, 60 and 297 seconds, adjusted to the timeouts that are given."""

    connect_seconds: Annotated[
        Annotated[Seconds, Field(le=60)] | None,
        Field(
            description="Seconds to connect. Default: 5, or the smallest of the other timeouts if that is less."
        ),
    ] = None
    first_byte_seconds: Annotated[
        Annotated[Seconds, Field(le=MAX_SECONDS)] | None,
        Field(
            description="Seconds until the first byte of the answer, including the time to connect. Default: 60, or total_seconds if that is less."
        ),
    ] = None
    total_seconds: Annotated[
        Annotated[Seconds, Field(le=MAX_SECONDS)] | None,
        Field(
            description="Seconds until the end of the answer. Default: 297, or first_byte_seconds if that is more."
        ),
    ] = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        timeouts = {name: value for name, value in self if value is not None}
        if list(timeouts.values()) != sorted(timeouts.values()):
            message = _(
                "The time to connect is included in the time to the first byte, which is included in the total time. "
                "Give numbers that do not decrease."
            )
            raise as_validation_error([Problem((next(reversed(timeouts)),), message)])
        return self

    def effective(self) -> dict[str, float]:
        """The three timeouts in seconds, with defaults."""
        connect, first_byte, total = self.connect_seconds, self.first_byte_seconds, self.total_seconds
        maximum = total or MAX_SECONDS
        connect = connect or min(CONNECT_SECONDS, first_byte or maximum, maximum)
        first_byte = first_byte or min(max(FIRST_BYTE_SECONDS, connect), maximum)
        return {
            "connect": connect,
            "first_byte": first_byte,
            "total": total or max(TOTAL_SECONDS, first_byte),
        }

    def stored(self) -> dict[str, float]:
        """The fields that were set, for the database and for API responses."""
        return self.model_dump(mode="json", exclude_none=True)


def parse_gateway_limits(body: object) -> list[RateLimit]:
    """Read the rate limits of the AI gateway settings. Raises SpecErrors, with paths that start with `ai_gateway`."""
    return AiGateway.parsed({"rate_limits": body}, "ai_gateway").rate_limits or []
