"""Queries, as Databricks and OpenAI shape them. The gateway answers them, so they are described here without a view."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from serving_ui.api.routing import Router
from serving_ui.catalogue.code_samples import SAMPLE_BODIES
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _

router = Router("Queries")
INVOCATIONS = "/serving-endpoints/{name}/invocations"
INFERENCE_REFUSALS = (400, 403, 404, 409, 429, 499, 500, 501, 503, 504)
CHAT = SAMPLE_BODIES[Task.CHAT]


class ChatMessage(BaseModel):
    role: Annotated[str, Field(examples=["user"])]
    content: Any = None


class InferenceBody(BaseModel):
    """In the shape of the OpenAI API; every field goes to the provider."""

    messages: Annotated[list[ChatMessage] | None, Field(description="Task llm/v1/chat.")] = None
    prompt: Annotated[Any, Field(description="Task llm/v1/completions.")] = None
    input: Annotated[Any, Field(description="Task llm/v1/embeddings.")] = None
    stream: Annotated[
        bool | None, Field(description="Answer with server-sent events that end with data: [DONE].")
    ] = None


class NamedInferenceBody(InferenceBody):
    model: Annotated[str, Field(description="Name of the endpoint.")]


class Completion(TypedDict):
    """What the provider said, in the shape of the OpenAI API."""


class ModelList(TypedDict):
    object: Literal["list"]
    data: Annotated[list[dict[str, Any]], Field(description="The endpoints that you may query.")]


router.describe(
    "POST",
    INVOCATIONS,
    "query",
    summary=_("Query an endpoint"),
    description=_("One served entity is chosen by the traffic; its name is in the header served-model-name."),
    body=InferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example=CHAT,
    sdk="serving_endpoints.query",
    mlflow="predict",
)
router.describe(
    "POST",
    "/serving-endpoints/{name}/served-models/{served_model_name}/invocations",
    "query_entity",
    summary=_("Query one served entity"),
    body=InferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example=CHAT,
)
router.describe(
    "POST",
    "/serving-endpoints/chat/completions",
    "query_chat",
    summary=_("Query, as the OpenAI client does: chat"),
    description=_(
        "Give http://HOST:PORT/serving-endpoints to the client as base URL, and the endpoint's name as model."
    ),
    body=NamedInferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example={"model": "my-chat", **CHAT},
)
router.describe(
    "POST",
    "/serving-endpoints/completions",
    "query_completions",
    summary=_("Query, as the OpenAI client does: completions"),
    body=NamedInferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example={"model": "my-text", **SAMPLE_BODIES[Task.COMPLETIONS]},
)
router.describe(
    "POST",
    "/serving-endpoints/embeddings",
    "query_embeddings",
    summary=_("Query, as the OpenAI client does: embeddings"),
    body=NamedInferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example={"model": "my-vectors", **SAMPLE_BODIES[Task.EMBEDDINGS]},
)
router.describe(
    "GET",
    "/serving-endpoints/models",
    "list_models",
    summary=_("List what you may query, as the OpenAI client does"),
    answer=ModelList,
)
