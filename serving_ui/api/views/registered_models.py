"""Models of one's own: register, get, list and delete versions, and how they may be sized."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.api import paging
from serving_ui.api.answers import Empty, Milliseconds, NextPage
from serving_ui.api.operation import ALWAYS_PAGED
from serving_ui.api.request import ApiRequest
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.routing import Router
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.lib import clock
from serving_ui.registered_models import commands, queries
from serving_ui.registered_models.models import RegisteredModel

router = Router("My models")
ALL = "registered-models"
ONE = f"{ALL}/{{model_name}}/versions/{{model_version}}"


class ModelVersion(TypedDict):
    name: str
    version: str
    kind: Literal["mlflow", "llama_cpp", "vllm", "deployment"]
    location: str
    task: NotRequired[Annotated[Task, Field(description="Left out for a model that answers any JSON.")]]
    engine_arguments: NotRequired[dict[str, Any]]
    packages: NotRequired[list[str]]
    throughput_chunk_size: NotRequired[int]
    description: str
    creation_timestamp: Milliseconds
    creator: NotRequired[str]
    flavors: NotRequired[
        Annotated[list[str], Field(description="Of a model of MLflow. Empty if the registry does not say.")]
    ]
    signature: NotRequired[
        Annotated[
            dict[str, list[dict[str, Any]]],
            Field(description="Of a model of MLflow: its inputs, outputs and params as in the file MLmodel."),
        ]
    ]


class ModelVersionList(NextPage):
    model_versions: Annotated[list[ModelVersion], Field(description="The oldest first.")]


class OptimizationInfo(TypedDict):
    optimizable: Annotated[bool, Field(description="Whether it can be sized by tokens per second.")]
    model_type: Annotated[str, Field(description="The task; empty for a model that answers any JSON.")]
    throughput_chunk_size: NotRequired[
        Annotated[int, Field(description="Tokens per second: its throughput is a multiple of this.")]
    ]


@router.post(
    ALL,
    summary=_("Register a version of a model"),
    description=_(
        "Only admins may, because a model runs code on the cluster. A version never changes. Models of an MLflow registry are registered there."
    ),
    body=NewModelVersion,
    refusals=(403, 409),
    example={
        "name": "smollm2",
        "kind": "llama_cpp",
        "location": "/models/smollm2-135m-instruct.gguf",
        "task": "llm/v1/chat",
    },
    is_addition=True,
    for_admins=True,
)
def register_model(request: ApiRequest) -> ModelVersion:
    new = NewModelVersion.parsed(request.json)
    warn_of_unknown_fields(request, new.unknown)
    return _shown(commands.register(new=new, actor=request.user, now=clock.now()))


@router.get(
    ALL,
    summary=_("List the versions of models"),
    description=_("Those that are registered here, without those of an MLflow registry."),
    query=ALWAYS_PAGED,
    is_addition=True,
)
def list_registered_models(request: ApiRequest) -> ModelVersionList:
    rows, more = paging.page(
        request, queries.all_versions(), order=("created_at", "pk"), key=lambda row: (row.created_at, row.pk)
    )
    return {"model_versions": [_shown(row) for row in rows], **more}


@router.get(
    ONE,
    summary=_("Get a version of a model"),
    description=_(
        "One that is registered here, else one of the MLflow registry, with flavors and signature."
    ),
    refusals=(404, 503),
    is_addition=True,
)
def get_registered_model(request: ApiRequest, model_name: str, model_version: str) -> ModelVersion:
    row = queries.all_versions().filter(name=model_name, version=model_version).first()
    return _shown(row) if row else _shown_of_mlflow(model_name, model_version)


@router.delete(
    ONE,
    summary=_("Delete a version of a model"),
    description=_("Endpoints that serve it go on. It cannot be deployed again."),
    refusals=(403, 404),
    is_addition=True,
    for_admins=True,
)
def delete_registered_model(request: ApiRequest, model_name: str, model_version: str) -> Empty:
    commands.delete(name=model_name, version=model_version, actor=request.user)
    return {}


@router.get(
    "serving-endpoints/get-model-optimization-info/{model_name}/{model_version}",
    summary=_("Get how a model may be sized"),
    refusals=(404, 503),
)
def get_optimization_info(request: ApiRequest, model_name: str, model_version: str) -> OptimizationInfo:
    source = queries.source_of(model_name, model_version)
    if source.task is None:
        return {"optimizable": False, "model_type": ""}
    return {
        "optimizable": True,
        "model_type": source.task.value,
        "throughput_chunk_size": source.throughput_chunk_size,
    }


def _shown(row: RegisteredModel) -> ModelVersion:
    shown: ModelVersion = {
        "name": row.name,
        "version": row.version,
        "kind": row.kind,  # type: ignore[typeddict-item]
        "location": row.location,
        "engine_arguments": row.engine_arguments,
        "packages": row.packages,
        "throughput_chunk_size": row.throughput_chunk_size,
        "description": row.description,
        "creation_timestamp": milliseconds(row.created_at),
    }
    if row.task:
        shown["task"] = Task(row.task)
    if row.creator:
        shown["creator"] = row.creator.email
    return shown


def _shown_of_mlflow(name: str, version: str) -> ModelVersion:
    found = queries.mlflow_version(name=name, version=version)
    shown: ModelVersion = {
        "name": name,
        "version": version,
        "kind": "mlflow",
        "location": queries.mlflow_location(name, version),
        "description": found.description,
        "creation_timestamp": found.created_at,
        "flavors": list(found.flavors),
    }
    if found.signature:
        shown["signature"] = {name: [dict(each) for each in parts] for name, parts in found.signature.items()}
    return shown
