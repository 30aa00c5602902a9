"""Bodies of the serving API that are too small for a model of the catalogue's own. Null counts as not given."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.catalogue.spec import RateLimits, Tags

MOST_KEYS = 1000


class TagChanges(ApiModel):
    """What is added is there afterwards; what is deleted is not, even if it was added in the same call."""

    add_tags: Tags = Field(default_factory=list)
    delete_tags: Annotated[list[str], Field(max_length=MOST_KEYS)] = Field(default_factory=list)


class NewRateLimits(ApiModel):
    """All of them; none removes them."""

    rate_limits: RateLimits = Field(default_factory=list)


class Notifications(ApiModel):
    """Read by the catalogue: who is told of updates."""

    email_notifications: dict[str, Any] = Field(default_factory=dict)


class Telemetry(ApiModel):
    """Where telemetry would go."""

    telemetry_config: dict[str, Any] | None = None
