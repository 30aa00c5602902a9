"""The request bodies of the serving API. `parse_endpoint` and `parse_config` validate input, `ConfigSpec.load` reads stored configs.

All problems are raised at once, as `SpecErrors`; each has the path of a field and a sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    field_validator,
)

from serving_ui.catalogue import names
from serving_ui.catalogue.api_model import ApiModel, RequestBody
from serving_ui.catalogue.changes import destinations, differences
from serving_ui.catalogue.endpoint_config import ConfigSpec, Route, TrafficConfig
from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.limits import RateLimit, RateLimits
from serving_ui.catalogue.problems import (
    Problem,
    SpecErrors,
    as_validation_error,
    field_error,
    validated,
)
from serving_ui.catalogue.served_entity import Kind, ServedEntity
from serving_ui.catalogue.translatable import TranslatableText, _, has_control_characters

MAX_DESCRIPTION_LENGTH = 2000
MAX_TAG_KEY_LENGTH = 127
MAX_TAG_VALUE_LENGTH = 255
MAX_TAGS = 1000


def _single_line(value: str) -> str:
    if has_control_characters(value):
        raise field_error(
            _("This contains a line break or another character that cannot be shown. Type it again.")
        )
    return value


def _multiline(value: str) -> str:
    if has_control_characters(value, allowed="\n\r\t"):
        raise field_error(_("This contains a character that cannot be shown. Type it again."))
    return value


def _endpoint_name(name: str) -> str:
    if problem := names.endpoint_name_problem(name):
        raise field_error(problem)
    return name


class Tag(ApiModel):
    key: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TAG_KEY_LENGTH),
        AfterValidator(_single_line),
        Field(description="At most 127 characters."),
    ]
    value: Annotated[
        str,
        StringConstraints(strip_whitespace=True, max_length=MAX_TAG_VALUE_LENGTH),
        AfterValidator(_single_line),
        Field(description="At most 255 characters."),
    ] = ""


def _refuse_duplicates(keys: Iterable[str], message: TranslatableText) -> None:
    seen: set[str] = set()
    problems = []
    for position, key in enumerate(keys):
        if key in seen:
            problems.append(Problem((position, "key"), message.fill(key=key), "duplicate"))
        seen.add(key)
    if problems:
        raise as_validation_error(problems)


def _without_duplicate_keys(tags: list[Tag]) -> list[Tag]:
    _refuse_duplicates(
        (tag.key for tag in tags), _("There is more than one tag with this key. Give each key once.")
    )
    return tags


Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_without_duplicate_keys)]


def _not_optimized(value: bool) -> bool:
    if value:
        raise field_error(_("Route optimization is not supported. Leave it out."))
    return value


Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH), AfterValidator(_multiline)]


class EndpointSpec(RequestBody):
    name: Annotated[
        str,
        AfterValidator(_endpoint_name),
        Field(
            description="Letters, digits, hyphens and underscores, at most 63 characters. It cannot be changed.",
            json_schema_extra={"pattern": f"^{names.NAME_PATTERN}$"},
        ),
    ]
    description: Annotated[Description, Field(description="Free text that pages and API show.")] = ""
    config: Annotated[
        ConfigSpec | None,
        Field(
            description="The served entities and the division of traffic among them. Without it the endpoint waits for its first config, which decides whether it serves external models or your own."
        ),
    ] = None
    rate_limits: Annotated[
        RateLimits,
        Field(
            description="Maximum calls or tokens per minute. If several limits apply to a call, all of them are enforced."
        ),
    ] = Field(default_factory=list)
    tags: Annotated[Tags, Field(description="At most one tag for each key.")] = Field(default_factory=list)
    ai_gateway: Annotated[
        AiGateway | None,
        Field(
            description="Rate limits and fallback take effect; guardrails and inference tables are stored and returned only."
        ),
    ] = None
    email_notifications: Annotated[
        EmailNotifications | None,
        Field(
            description="Whom to notify when an update ends. Stored and returned; no e-mail is sent in this version."
        ),
    ] = None
    timeouts: Annotated[
        Timeouts | None,
        Field(description="How long the gateway waits for the provider. Not part of the Databricks API."),
    ] = None
    route_optimized: Annotated[
        StrictBool,
        AfterValidator(_not_optimized),
        Field(description="Not supported: must be false or left out."),
    ] = False

    @field_validator("config", mode="before")
    @classmethod
    def _without_empty_config(cls, config: object) -> object:
        """The Databricks SDK sends the endpoint's name in the config, even if there is nothing else in it."""
        if isinstance(config, Mapping) and all(v is None for k, v in config.items() if k != "name"):
            return None
        return config


def parse_endpoint(body: object, *, several: bool = False) -> EndpointSpec:
    """Read the body that creates an endpoint. `several` allows more than one external model."""
    spec = EndpointSpec.parsed(body)
    if spec.config:
        _refuse([problem.under("config") for problem in _config_problems(spec.config, several=several)])
    return spec


def parse_config(body: object, *, several: bool = False) -> ConfigSpec:
    """Read the body that updates a config. `several` allows more than one external model."""
    config = ConfigSpec.parsed(body)
    _refuse(list(_config_problems(config, several=several)))
    return config


def parse_field(name: str, value: object) -> Any:
    """Read one field of the body that creates an endpoint, such as its tags. Raises SpecErrors with paths that start with its name."""
    return validated(_adapter(name).validate_python, value, name)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(EndpointSpec, include_extras=True)[name])


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise SpecErrors(problems)


def _config_problems(config: ConfigSpec, *, several: bool) -> Iterator[Problem]:
    entities = config.served_entities
    if mixed := [position for position, entity in enumerate(entities) if entity.kind is not config.kind]:
        message = _("An endpoint serves external models or models of your own, never both. Remove one kind.")
        yield from (Problem(("served_entities", position), message, "kind") for position in mixed)
        return
    if len(entities) > 1 and not several and config.kind is Kind.EXTERNAL_MODEL:
        message = _(
            "An endpoint with an external model has exactly one served entity, unless an admin allows several on the Settings page. Remove the others."
        )
        yield Problem(("served_entities",), message, "several")
        return
    taken = Counter(entity.name for entity in entities)
    for position, entity in enumerate(entities):
        if taken[entity.name] > 1:
            message = _("Another served entity has this name. Give each its own name.")
            yield Problem(("served_entities", position, "name"), message, "duplicate")
        if entity.external_model and config.task and entity.task != config.task:
            message = _("All external models of an endpoint have the same task. Choose %(task)s here, too.")
            path = ("served_entities", position, "external_model", "task")
            yield Problem(path, message.fill(task=config.task.label))
    yield from _traffic_problems(config)


def _traffic_problems(config: ConfigSpec) -> Iterator[Problem]:
    entities = {entity.name for entity in config.served_entities}
    routed = Counter(route.served_entity_name for route in config.traffic_config.routes)
    path = ("traffic_config", "routes")
    if not routed:
        yield Problem(path, _("Give a route for each served entity."), "required")
        return
    for position, route in enumerate(config.traffic_config.routes):
        if route.served_entity_name not in entities:
            message = _("There is no served entity of this name. Use the name of one in served_entities.")
            yield Problem((*path, position, "served_entity_name"), message)
        elif routed[route.served_entity_name] > 1:
            message = _("There is more than one route to this served entity. Give one for each.")
            yield Problem((*path, position, "served_entity_name"), message, "duplicate")
    if entities - routed.keys():
        yield Problem(
            path, _("Every served entity needs a route. Give 0 to one that gets no traffic."), "required"
        )
    total = sum(route.traffic_percentage for route in config.traffic_config.routes)
    if total != 100:
        yield Problem(
            path, _("Traffic must add up to 100 percent; it adds up to %(total)s.").fill(total=total)
        )


__all__ = [
    "ConfigSpec",
    "EndpointSpec",
    "ExternalModel",
    "RateLimit",
    "RateLimits",
    "Route",
    "ServedEntity",
    "SpecErrors",
    "Tag",
    "TrafficConfig",
    "destinations",
    "differences",
    "parse_config",
    "parse_endpoint",
    "parse_field",
]
