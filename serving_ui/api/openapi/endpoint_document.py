"""The OpenAPI document of one endpoint: how it is queried, with the body of its task."""

from __future__ import annotations

from typing import Any

from serving_ui.api.openapi.document import described, operations, schemas
from serving_ui.catalogue.code_samples import SAMPLE_BODIES
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints.models import Endpoint

Schema = dict[str, Any]
_NEEDS = {Task.CHAT: "messages", Task.COMPLETIONS: "prompt", Task.EMBEDDINGS: "input"}
_OTHER = {task: set(_NEEDS.values()) - {field} for task, field in _NEEDS.items()}


def endpoint_document(endpoint: Endpoint, *, base: str) -> Schema:
    """OpenAPI 3.1, with one path for the endpoint and one for each of its served entities."""
    version = endpoint.shown_version
    entities = [entity.name for entity in version.config.served_entities] if version else []
    addresses = ["invocations", *(f"served-models/{name}/invocations" for name in entities)]
    return {
        "openapi": "3.1.0",
        "info": {"title": endpoint.name, "version": str(version.number if version else 0)},
        "servers": [{"url": f"{base}/serving-endpoints/{endpoint.name}"}],
        "security": [{"token": []}],
        "paths": {f"/{address}": {"post": _query(endpoint, address)} for address in addresses},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: schemas()[name] for name in ("ChatMessage", "Completion", "Error")},
        },
    }


def _query(endpoint: Endpoint, address: str) -> Schema:
    found = described(next(each for each in operations() if each.name == "query"))
    task = endpoint.task
    content: Schema = {"schema": _body(task) if task else {"type": "object"}}
    if task:
        content["example"] = SAMPLE_BODIES[Task(task)]
    name = address.replace("/invocations", "").replace("/", "_").replace("invocations", "endpoint")
    return {
        **found,
        "operationId": f"query_{name}",
        "parameters": [],
        "requestBody": {"required": True, "content": {"application/json": content}},
    }


def _body(task: str) -> Schema:
    whole = schemas()["InferenceBody"]
    properties = {name: each for name, each in whole["properties"].items() if name not in _OTHER[Task(task)]}
    return {**whole, "properties": properties, "required": [_NEEDS[Task(task)]]}
