"""Create, get, list, update and delete endpoints; cancel an update; take over secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from django.http import HttpResponseBase
from pydantic import Field

from serving_ui.api import paging, serializers, streaming
from serving_ui.api.answers import Empty, NextPage
from serving_ui.api.operation import API, PAGE_PARAMETERS
from serving_ui.api.request import ApiRequest, Json
from serving_ui.api.response_warnings import (
    warn_of_ineffective_fields,
    warn_of_unknown_fields,
    warn_of_unsent_email,
)
from serving_ui.api.routing import Router
from serving_ui.api.serializers import EndpointDetail, EndpointSummary
from serving_ui.catalogue.api_model import ApiModel, RequestBody
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec, parse_config, parse_endpoint
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import commands, queries, stopping, takeover
from serving_ui.endpoints.duplicate_create import duplicate_refusal
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint, Workspace
from serving_ui.lib import clock

router = Router("Serving endpoints")
ALL = "serving-endpoints"
ONE = f"{ALL}/{{name}}"
# Also in the examples of the other operations on endpoints.
CONFIG: dict[str, Any] = {
    "served_entities": [
        {
            "name": "gpt-4o",
            "external_model": {
                "name": "gpt-4o",
                "provider": "openai",
                "task": "llm/v1/chat",
                "openai_config": {"openai_api_key": "{{secrets/my_scope/my_openai_api_key}}"},
            },
        }
    ]
}
PROVISIONED: dict[str, Any] = {
    "served_entities": [{"entity_name": "my-llama", "entity_version": "1", "provisioned_model_units": 1}]
}
_UNITS_MISSING = _(
    "Provisioned throughput needs provisioned_model_units with entity_name and entity_version. Send every other config to serving-endpoints."
)
LIMITS = [{"calls": 100, "key": "user", "renewal_period": "minute"}]
TAGS = [{"key": "team", "value": "gen-ai"}]


class NoFields(ApiModel):
    """Nothing needs to be said."""


class ConfigUpdate(RequestBody):
    """The routes of provisioned throughput have the config in a field of its own."""

    config: Annotated[
        ConfigSpec, Field(description="The served entities and the division of traffic among them.")
    ]


class EndpointList(NextPage):
    endpoints: Annotated[list[EndpointSummary], Field(description="Those that you may see.")]


@router.post(
    ALL,
    summary=_("Create an endpoint"),
    description=_(
        "Answers at once, with the config pending as version 1; the endpoint is ready when state.ready is READY. A name that is taken is refused with 409 RESOURCE_ALREADY_EXISTS, who made it, when, and whether its config is the same."
    ),
    body=EndpointSpec,
    refusals=(409,),
    example={"name": "my-chat", "config": CONFIG, "rate_limits": LIMITS, "tags": TAGS},
    sdk="serving_endpoints.create",
    mlflow="create_endpoint",
)
def create_endpoint(request: ApiRequest) -> EndpointDetail:
    return _create(request)


def _create(
    request: ApiRequest, check: Callable[[EndpointSpec], None] = lambda _spec: None
) -> EndpointDetail:
    spec = parse_endpoint(request.json, several=Workspace.here().several_external_models)
    check(spec)
    warn_of_unknown_fields(request, spec.unknown)
    if spec.ai_gateway:
        warn_of_ineffective_fields(
            request, [f"ai_gateway.{path}" for path in spec.ai_gateway.without_effect()]
        )
    warn_of_unsent_email(request, spec.email_notifications)
    try:
        made = commands.create_endpoint(spec=spec, actor=request.user, now=clock.now())
    except SpecErrors as errors:
        if any(problem.code == commands.TAKEN for problem in errors.problems):
            raise duplicate_refusal(name=spec.name, config=spec.config, actor=request.user) from None
        raise
    return _accepted(request, made)


@router.get(
    ONE,
    summary=_("Get an endpoint"),
    description=_(
        "While an update runs, config is the old one, which answers queries, and pending_config the new one."
    ),
    refusals=(404,),
    sdk="serving_endpoints.get",
    mlflow="get_endpoint",
)
def get_endpoint(request: ApiRequest, name: str) -> EndpointDetail:
    return _shown(request, name)


@router.get(
    ALL,
    summary=_("List endpoints"),
    description=_(
        "Every endpoint that you may see, last modified first, in one answer; or in pages, in the order of their creation."
    ),
    query=PAGE_PARAMETERS,
    sdk="serving_endpoints.list",
    mlflow="list_endpoints",
)
def list_endpoints(request: ApiRequest) -> EndpointList | HttpResponseBase:
    """One query, however many there are. Pages are in the order of creation, which no change of an endpoint disturbs."""
    rows = queries.visible(actor=request.user)
    values = rows.values_list(*serializers.LIST_COLUMNS)
    if not paging.is_requested(request):
        items = values.order_by("-modified_at", "name").iterator(chunk_size=500)
        return streaming.json_list(request, "endpoints", map(serializers.endpoint_summary, items))
    found, more = paging.page(request, values, order=("created_at", "pk"), key=serializers.creation)
    return {"endpoints": [serializers.endpoint_summary(each) for each in found], **more}


@router.put(
    f"{ONE}/config",
    summary=_("Update the config"),
    description=_(
        "Makes a new config version. The old one answers every query until the new one is ready. While an update runs, another is refused with 409 RESOURCE_CONFLICT."
    ),
    body=ConfigSpec,
    refusals=(403, 404, 409),
    example=CONFIG,
    sdk="serving_endpoints.update_config",
    mlflow="update_endpoint_config",
)
def update_config(request: ApiRequest, name: str) -> EndpointDetail:
    _refuse_settings(request.json)
    config = parse_config(request.json, several=Workspace.here().several_external_models)
    warn_of_unknown_fields(request, config.unknown)
    return _accepted(request, edit(request, name, EndpointChanges(config=config)))


@router.post(
    f"{ONE}/config:cancel",
    summary=_("Cancel the running update"),
    description=_(
        "The pending config is dropped, and the active one answers as before. Refused with 409 when no update runs."
    ),
    body=NoFields,
    body_required=False,
    refusals=(403, 404, 409),
    is_addition=True,
)
def cancel_update(request: ApiRequest, name: str) -> EndpointDetail:
    commands.cancel_update(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


@router.post(
    f"{ONE}/config:take-over",
    summary=_("Take over the secrets"),
    description=_(
        "If the user on whose right a secret is sent is deactivated or may no longer read it, it is sent on your right from now on, provided that you may read it. No config version is created. An endpoint that was not ready for this reason becomes ready again."
    ),
    body=NoFields,
    body_required=False,
    refusals=(403, 404, 409),
    is_addition=True,
)
def take_over(request: ApiRequest, name: str) -> EndpointDetail:
    takeover.take_over(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


@router.delete(
    ONE,
    summary=_("Delete an endpoint"),
    description=_("With its history and the secrets pasted into it. It cannot be brought back."),
    refusals=(403, 404),
    sdk="serving_endpoints.delete",
    mlflow="delete_endpoint",
)
def delete_endpoint(request: ApiRequest, name: str) -> Empty:
    commands.delete_endpoint(name=name, actor=request.user, now=clock.now())
    return {}


@router.post(
    f"{ALL}/pt",
    summary=_("Create an endpoint with provisioned throughput"),
    description=_(
        "The same as creating an endpoint, for models of your own that are sized by provisioned_model_units. One model unit is one replica of the model."
    ),
    body=EndpointSpec,
    refusals=(409,),
    example={"name": "my-llama", "config": PROVISIONED},
    sdk="serving_endpoints.create_provisioned_throughput_endpoint",
)
def create_provisioned(request: ApiRequest) -> EndpointDetail:
    return _create(request, _provisioned)


@router.put(
    f"{ALL}/pt/{{name}}/config",
    summary=_("Update the config of provisioned throughput"),
    description=_("The same as updating a config, which is in the field config here."),
    body=ConfigUpdate,
    refusals=(403, 404, 409),
    example={"config": PROVISIONED},
    sdk="serving_endpoints.update_provisioned_throughput_endpoint_config",
)
def update_provisioned(request: ApiRequest, name: str) -> EndpointDetail:
    body = ConfigUpdate.parsed(request.json)
    config = parse_config(request.json["config"], several=True)
    _refuse_unprovisioned(config, "config")
    warn_of_unknown_fields(request, body.unknown)
    return _accepted(request, edit(request, name, EndpointChanges(config=config)))


@router.post(
    f"{ONE}:stop",
    summary=_("Stop an endpoint"),
    description=_(
        "Only with models of your own. Queries are refused with 400, and the models are removed from the cluster. Refused with 409 while an update runs."
    ),
    body=NoFields,
    body_required=False,
    refusals=(403, 404, 409),
    is_addition=True,
)
def stop_endpoint(request: ApiRequest, name: str) -> EndpointDetail:
    stopping.stop_endpoint(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


@router.post(
    f"{ONE}:start",
    summary=_("Start a stopped endpoint"),
    description=_("Makes a new config version with the same config, and the endpoint is ready when it is."),
    body=NoFields,
    body_required=False,
    refusals=(403, 404, 409),
    is_addition=True,
)
def start_endpoint(request: ApiRequest, name: str) -> EndpointDetail:
    stopping.start_endpoint(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


def edit(request: ApiRequest, name: str, changes: EndpointChanges) -> Endpoint:
    return commands.edit_endpoint(name=name, changes=changes, actor=request.user, now=clock.now())


def _shown(request: ApiRequest, name: str) -> EndpointDetail:
    return serializers.endpoint_detail(queries.get_endpoint(name=name, actor=request.user))


def _accepted(request: ApiRequest, endpoint: Endpoint) -> EndpointDetail:
    """The state at acceptance: a worker may have settled the update since, and clients poll anyway."""
    endpoint.level = queries.level_of(endpoint=endpoint, actor=request.user)
    return serializers.endpoint_detail(endpoint)


def _refuse_settings(body: Json) -> None:
    """The method update_endpoint of mlflow sends settings to the config. They have paths of their own."""
    message = _("This is not part of the config. Send it to %(address)s.")
    problems = [
        Problem((field,), message.fill(address=f"{API}{ONE}/{_path_of_setting(field)}"), "elsewhere")
        for field in EndpointSpec.model_fields
        if field in ("tags", *Endpoint.SETTINGS) and body.get(field) is not None
    ]
    if problems:
        raise SpecErrors(problems)


def _path_of_setting(field: str) -> str:
    return "notifications" if field == "email_notifications" else field.replace("_", "-")


def _provisioned(spec: EndpointSpec) -> None:
    """Raises SpecErrors unless the endpoint has own models in model units."""
    if spec.config is None:
        raise SpecErrors([Problem(("config",), _("Config is missing. Give it and try again."), "required")])
    _refuse_unprovisioned(spec.config, "config")


def _refuse_unprovisioned(config: ConfigSpec, *prefix: str) -> None:
    problems = [
        Problem((*prefix, "served_entities", position, "provisioned_model_units"), _UNITS_MISSING, "required")
        for position, entity in enumerate(config.served_entities)
        if entity.own_model is None or entity.own_model.provisioned_model_units is None
    ]
    if problems:
        raise SpecErrors(problems)
