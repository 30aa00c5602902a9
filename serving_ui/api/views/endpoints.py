"""Create, get, list, update and delete endpoints; cancel an update."""

from __future__ import annotations

from django.http import HttpResponseBase

from serving_ui.api import paging, serializers, streaming
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.response_warnings import (
    warn_of_ineffective_fields,
    warn_of_unknown_fields,
    warn_of_unsent_email,
)
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.spec import parse_config, parse_endpoint
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import commands, queries, takeover
from serving_ui.endpoints.duplicate_create import duplicate_refusal
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint, Workspace
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal

# mlflow's update_endpoint sends whatever it is given here; what has an address of its own is not dropped in silence.
ELSEWHERE = {
    "rate_limits": "rate-limits",
    "tags": "tags",
    "ai_gateway": "ai-gateway",
    "email_notifications": "notifications",
    "timeouts": "timeouts",
}


def create(request: ApiRequest) -> Json:
    """POST serving-endpoints."""
    spec = parse_endpoint(request.json, several=Workspace.here().several_external_models)
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


def get(request: ApiRequest, name: str) -> Json:
    """GET serving-endpoints/{name}."""
    return _shown(request, name)


def listing(request: ApiRequest) -> Json | HttpResponseBase:
    """GET serving-endpoints: all that the person may see, last modified first, in one query however many there are. In pages
    they come in the order of their creation, which no change of theirs disturbs."""
    rows = queries.visible(actor=request.user)
    values = rows.values_list(*serializers.LIST_COLUMNS)
    if not paging.is_asked(request):
        items = values.order_by("-modified_at", "name").iterator(chunk_size=500)
        return streaming.json_list(request, "endpoints", map(serializers.list_item, items))
    found, more = paging.page(request, values, order=("created_at", "pk"), key=serializers.creation)
    return {"endpoints": [serializers.list_item(each) for each in found], **more}


def update_config(request: ApiRequest, name: str) -> Json:
    """PUT serving-endpoints/{name}/config."""
    _refuse_elsewhere(request.json)
    config = parse_config(request.json, several=Workspace.here().several_external_models)
    warn_of_unknown_fields(request, config.unknown)
    changes = EndpointChanges(config=config)
    changed = commands.edit_endpoint(name=name, changes=changes, actor=request.user, now=clock.now())
    return _accepted(request, changed)


def cancel_update(request: ApiRequest, name: str) -> Json:
    """POST serving-endpoints/{name}/config:cancel, an addition of ours."""
    commands.cancel_update(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


def take_over(request: ApiRequest, name: str) -> Json:
    """POST serving-endpoints/{name}/config:take-over, an addition of ours."""
    takeover.take_over(name=name, actor=request.user, now=clock.now())
    return _shown(request, name)


def delete(request: ApiRequest, name: str) -> Json:
    """DELETE serving-endpoints/{name}."""
    commands.delete_endpoint(name=name, actor=request.user, now=clock.now())
    return {}


def create_provisioned(request: ApiRequest) -> Json:
    """POST serving-endpoints/pt."""
    raise _not_provisioned()


def update_provisioned(request: ApiRequest, name: str) -> Json:
    """PUT serving-endpoints/pt/{name}/config."""
    queries.get_endpoint(name=name, actor=request.user)
    raise _not_provisioned()


def _shown(request: ApiRequest, name: str) -> Json:
    return serializers.endpoint_detail(queries.get_endpoint(name=name, actor=request.user))


def _accepted(request: ApiRequest, endpoint: Endpoint) -> Json:
    """As it was when it was accepted; a quick worker may have settled it by now, and the caller looks again anyway."""
    endpoint.level = queries.level_of(endpoint=endpoint, actor=request.user)
    return serializers.endpoint_detail(endpoint)


def _refuse_elsewhere(given: Json) -> None:
    message = _("This is not part of the config. Send it to %(address)s.")
    problems = [
        Problem((field,), message.fill(address=f"/api/2.0/serving-endpoints/{{name}}/{address}"), "elsewhere")
        for field, address in ELSEWHERE.items()
        if given.get(field) is not None
    ]
    if problems:
        raise SpecErrors(problems)


def _not_provisioned() -> Refusal:
    message = _(
        "Provisioned throughput is not offered: this server serves external models. Create an endpoint with an external_model."
    )
    return Refusal(message, code="BAD_REQUEST")
