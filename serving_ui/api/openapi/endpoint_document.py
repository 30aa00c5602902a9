"""The OpenAPI document of one endpoint: how it is queried, with the body of its task, or of its model's signature."""

from __future__ import annotations

from typing import Any

from serving_ui.api.openapi.document import described, operations, schemas
from serving_ui.catalogue import scoring_schema
from serving_ui.catalogue.code_samples import sample_body
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import own_models
from serving_ui.endpoints.models import Endpoint

Schema = dict[str, Any]
_NEEDS = {Task.CHAT: "messages", Task.COMPLETIONS: "prompt", Task.EMBEDDINGS: "input"}
_OTHER = {task: set(_NEEDS.values()) - {field} for task, field in _NEEDS.items()}


def endpoint_document(endpoint: Endpoint, *, base: str) -> Schema:
    """OpenAPI 3.1, with one path for the endpoint and one for each of its served entities.

    The path of an endpoint whose entities have several signatures has that of the first one.
    """
    version = endpoint.shown_version
    entities = [entity.name for entity in version.config.served_entities] if version else []
    task = Task(endpoint.task) if endpoint.task else None
    addresses = {"invocations": own_models.source_of(version)}
    addresses |= {
        f"served-models/{name}/invocations": own_models.source_of(version, name) for name in entities
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": endpoint.name, "version": str(version.number if version else 0)},
        "servers": [{"url": f"{base}/serving-endpoints/{endpoint.name}"}],
        "security": [{"token": []}],
        "paths": {
            f"/{address}": {"post": _query(address, task, source)} for address, source in addresses.items()
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: schemas()[name] for name in ("ChatMessage", "Completion", "Error")},
        },
    }


def _query(address: str, task: Task | None, source: ModelSource | None) -> Schema:
    found = described(next(each for each in operations() if each.name == "query"))
    answer: Schema = {}
    content: Schema = {"schema": {"type": "object"}}
    if task:
        content = {"schema": _body(task)}
    elif source and source.kind == SourceKind.MLFLOW:
        content = {"schema": scoring_schema.query_schema(source.signature)}
        answer = scoring_schema.answer_schema(source.signature)
    if task or source:
        content["example"] = sample_body(task, source)
    if not task:
        found["responses"]["200"]["content"] = {"application/json": {"schema": answer}}
    name = address.replace("/invocations", "").replace("/", "_").replace("invocations", "endpoint")
    return {
        **found,
        "operationId": f"query_{name}",
        "parameters": [],
        "requestBody": {"required": True, "content": {"application/json": content}},
    }


def _body(task: Task) -> Schema:
    whole = schemas()["InferenceBody"]
    properties = {name: each for name, each in whole["properties"].items() if name not in _OTHER[task]}
    return {**whole, "properties": properties, "required": [_NEEDS[task]]}
