"""Model hosts, for admins."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.api import paging
from serving_ui.api.answers import Empty, Id, Milliseconds, NextPage
from serving_ui.api.operation import PAGE_PARAMETERS
from serving_ui.api.request import ApiRequest
from serving_ui.api.routing import Router
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue.translatable import _
from serving_ui.lib import clock
from serving_ui.model_hosts import commands, queries
from serving_ui.model_hosts.host_spec import HostChanges, HostSpec
from serving_ui.model_hosts.models import HostKind, ModelHost

router = Router("Model hosts")
EXAMPLE = {"name": "ollama", "base_url": "http://127.0.0.1:11434/v1"}


class HostState(TypedDict):
    health: Annotated[
        Literal["UNCHECKED", "ONLINE", "UNREACHABLE"], Field(description="What its last check found.")
    ]
    message: Annotated[str, Field(description="Why it is not online, or which models were left out.")]
    checked_at: NotRequired[Milliseconds]
    next_check_at: Milliseconds


class NamedModelAnswer(TypedDict):
    name: str
    task: str


class HostDetail(TypedDict):
    id: Id
    name: str
    kind: Annotated[
        Literal["openai-compatible", "databricks", "provider", "local"],
        Field(description="local: a server that this machine runs itself."),
    ]
    base_url: NotRequired[str]
    secret: NotRequired[Annotated[str, Field(description="The reference; a stored secret is never shown.")]]
    account: NotRequired[Annotated[dict[str, Any], Field(description="Provider and config block.")]]
    prefix: Annotated[str, Field(description="Stands for the host in the names of its endpoints.")]
    models: Annotated[list[NamedModelAnswer], Field(description="Empty: all that the host lists.")]
    number_of_models: Annotated[int, Field(description="Foundation models that it has now.")]
    state: HostState
    creator: NotRequired[str]
    creation_timestamp: Milliseconds
    last_updated_timestamp: Milliseconds


class HostList(NextPage):
    model_hosts: list[HostDetail]


@router.post(
    "model-hosts",
    summary=_("Create a model host"),
    description=_(
        "Its models become foundation models, which everybody may query. It is checked at once, and then every minute."
    ),
    refusals=(403, 409),
    example=EXAMPLE,
    is_addition=True,
    for_admins=True,
)
def create_model_host(request: ApiRequest, body: HostSpec) -> HostDetail:
    commands.create_host(spec=body, actor=request.user, now=clock.now())
    return _detail(queries.get_host(name=body.name, actor=request.user))


@router.get(
    "model-hosts",
    summary=_("List model hosts"),
    query=PAGE_PARAMETERS,
    refusals=(403,),
    is_addition=True,
    for_admins=True,
)
def list_model_hosts(request: ApiRequest) -> HostList:
    rows = queries.list_hosts(actor=request.user)
    found, more = paging.page_or_all(request, rows, order=("name",), key=lambda row: (row.name,))
    return {"model_hosts": [_detail(host) for host in found], **more}


@router.get(
    "model-hosts/{host}",
    summary=_("Get a model host"),
    refusals=(403, 404),
    is_addition=True,
    for_admins=True,
)
def get_model_host(request: ApiRequest, host: str) -> HostDetail:
    return _detail(queries.get_host(name=host, actor=request.user))


@router.patch(
    "model-hosts/{host}",
    summary=_("Update a model host"),
    description=_(
        "What is left out stays. Its endpoints get the new address or secret by new config versions, without interruption. The names of existing endpoints stay."
    ),
    refusals=(403, 404),
    example={"base_url": "http://127.0.0.1:8000/v1"},
    is_addition=True,
    for_admins=True,
)
def update_model_host(request: ApiRequest, host: str, body: HostChanges) -> HostDetail:
    commands.update_host(name=host, changes=body, actor=request.user, now=clock.now())
    return _detail(queries.get_host(name=host, actor=request.user))


@router.delete(
    "model-hosts/{host}",
    summary=_("Delete a model host"),
    description=_("With the endpoints of its models."),
    refusals=(403, 404),
    is_addition=True,
    for_admins=True,
)
def delete_model_host(request: ApiRequest, host: str) -> Empty:
    commands.delete_host(name=host, actor=request.user, now=clock.now())
    return {}


def _detail(host: ModelHost) -> HostDetail:
    answer: HostDetail = {
        "id": host.pk,
        "name": host.name,
        "kind": host.kind,  # type: ignore[typeddict-item]  # one of the choices
        "prefix": host.name_prefix,
        "models": host.named_models,
        "number_of_models": host.number_of_models,
        "state": _state(host),
        "creation_timestamp": milliseconds(host.created_at),
        "last_updated_timestamp": milliseconds(host.modified_at),
    }
    if host.base_url:
        answer["base_url"] = host.base_url
    if host.creator:
        answer["creator"] = host.creator.email
    if host.kind == HostKind.PROVIDER:
        shown = host.config.public()["served_entities"][0]["external_model"]
        answer["account"] = {name: shown[name] for name in shown if name not in ("name", "task")}
    elif reference := host.secret_reference:
        answer["secret"] = reference
    return answer


def _state(host: ModelHost) -> HostState:
    state: HostState = {
        "health": host.health,  # type: ignore[typeddict-item]  # one of the choices
        "message": host.error or host.note,
        "next_check_at": milliseconds(host.next_check_at),
    }
    if host.checked_at:
        state["checked_at"] = milliseconds(host.checked_at)
    return state
