"""The operations that the gateway answers: queries, in the shapes of Databricks and of OpenAI."""

from __future__ import annotations

from typing import Any

from serving_ui.api.description import given, shapes
from serving_ui.api.description.operation import INVOCATIONS, Operation
from serving_ui.catalogue.translatable import _

GROUP = "Queries"
REFUSALS = (400, 403, 404, 409, 429, 499, 500, 501, 503, 504)
HELLO = {"messages": [{"role": "user", "content": "What is a serving endpoint?"}]}
MLFLOW = "MLflow by address"
_SHARED: dict[str, Any] = {
    "method": "POST",
    "group": GROUP,
    "answer": shapes.Completion,
    "refusals": REFUSALS,
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path=INVOCATIONS + "/{name}/invocations", name="query",
        summary=_("Query an endpoint"), text=_("One served entity is chosen by the traffic; its name is in the header served-model-name."),
        body=given.Question, example=HELLO, sdk="serving_endpoints.query", mlflow="predict", **_SHARED,
    ),
    Operation(
        path=INVOCATIONS + "/{name}/served-models/{served_model_name}/invocations", name="query_entity",
        summary=_("Query one served entity"), body=given.Question, example=HELLO, **_SHARED,
    ),
    Operation(
        path=INVOCATIONS + "/chat/completions", name="query_chat", summary=_("Query, as the OpenAI client does: chat"),
        text=_("Give http://HOST:PORT/serving-endpoints to the client as base URL, and the endpoint's name as model."),
        body=given.NamedQuestion, example={"model": "my-chat", **HELLO}, **_SHARED,
    ),
    Operation(
        path=INVOCATIONS + "/completions", name="query_completions", summary=_("Query, as the OpenAI client does: completions"),
        body=given.NamedQuestion, example={"model": "my-text", "prompt": "A serving endpoint is"}, **_SHARED,
    ),
    Operation(
        path=INVOCATIONS + "/embeddings", name="query_embeddings", summary=_("Query, as the OpenAI client does: embeddings"),
        body=given.NamedQuestion, example={"model": "my-vectors", "input": ["A text."]}, **_SHARED,
    ),
    Operation(
        method="GET", path=INVOCATIONS + "/models", group=GROUP, name="list_models",
        summary=_("List what you may query, as the OpenAI client does"), answer=shapes.ModelList, refusals=(),
    ),
    Operation(
        method="GET", path="/api/2.0/endpoints", group=MLFLOW, name="list_mlflow_endpoints", summary=_("List endpoints, as MLflow's own gateway does"),
        text=_("For get_deploy_client(\"http://HOST:PORT\"), which sends the token of MLFLOW_TRACKING_TOKEN and can read and query."),
        answer=shapes.MLflowEndpointList,
    ),
    Operation(
        method="GET", path="/api/2.0/endpoints/{name}", group=MLFLOW, name="get_mlflow_endpoint", summary=_("Get an endpoint, as MLflow's own gateway does"),
        answer=shapes.MLflowEndpoint, refusals=(404,),
    ),
    Operation(
        method="POST", path="/endpoints/{name}/invocations", group=MLFLOW, name="query_mlflow_endpoint", summary=_("Query an endpoint, as MLflow's own gateway does"),
        body=given.Question, example=HELLO, answer=shapes.Completion, refusals=REFUSALS,
    ),
)  # fmt: skip
