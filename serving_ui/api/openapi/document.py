"""The OpenAPI 3.1 document of the whole API, made from the operations and the types of their bodies and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from serving_ui.api.answers import Empty, Error
from serving_ui.api.openapi import external_model
from serving_ui.api.operation import Operation, Parameter

STATUS_DESCRIPTIONS = {
    200: "Success.",
    400: "The request is invalid. The message names the field and says what is expected.",
    401: "The access token is missing, wrong or expired.",
    403: "You do not have the permission.",
    404: "It does not exist, or you may not see it.",
    409: "It conflicts with the present state, such as a running update.",
    429: "A limit is reached. Retry-After says in how many seconds to try again.",
    499: "The caller disconnected.",
    500: "The provider or this server failed. The server's log has the reason.",
    501: "This is not supported.",
    503: "The provider or the database of this server is unreachable. Retry-After says in how many seconds to try again; without it, the provider may have processed the request.",
    504: "The provider did not answer in time.",
}
INTRODUCTION = (
    "The serving API of Databricks as its SDK, the MLflow Deployments client and the OpenAI client use it. Every address under "
    "/api/2.0/ works with and without a trailing slash. Every error is JSON with error_code and message. Unknown fields "
    "are accepted, have no effect, and are named in warnings."
)
Schema = dict[str, Any]
UNEXPECTED = {str(status): {"$ref": f"#/components/responses/{status}"} for status in (500, 503)}


def operations() -> tuple[Operation, ...]:
    """Every operation of the API."""
    from serving_ui.api.urls import OPERATIONS  # noqa: PLC0415 (the routes include the one to this document)

    return OPERATIONS


@cache
def _document() -> Schema:
    paths: dict[str, Schema] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Serving UI", "version": "2.0", "description": INTRODUCTION},
        "security": [{"token": []}],
        "tags": [{"name": group} for group in groups()],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
            "responses": {str(status): _error_response(status) for status in (500, 503)},
        },
    }


def document(*, base: str) -> Schema:
    """The document of the whole API of the server at `base`."""
    return {**_document(), "servers": [{"url": base}]}


def groups() -> list[str]:
    """The groups of the operations, in their order."""
    return list(dict.fromkeys(operation.group for operation in operations()))


@cache
def schemas() -> Schema:
    """The named schemas of all bodies and answers."""
    bodies = {operation.body for operation in operations() if operation.body}
    named = _schemas(
        bodies | {operation.answer for operation in operations() if operation.answer} | {Empty, Error}
    )
    for name in named.keys() - _schemas(bodies).keys():
        named[name]["additionalProperties"] = True  # later versions may answer more fields
    named["ExternalModel"] = external_model.external_model()
    named["ShownExternalModel"] = external_model.shown_model()
    named.pop("ProviderConfig", None)
    return named


def _schemas(types: Iterable[Any]) -> Schema:
    adapters = [(each.__name__, TypeAdapter(each)) for each in sorted(types, key=lambda each: each.__name__)]
    _refs, found = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in adapters],
        ref_template="#/components/schemas/{model}",
    )
    return {name: _tidy(each) for name, each in found["$defs"].items()}


def _tidy(part: Any) -> Any:
    """Without titles, which repeat the names of fields, and null, which means the same as leaving a field out."""
    if isinstance(part, Mapping):
        choices = [each for each in part.get("anyOf", ()) if each != {"type": "null"}]
        if len(choices) == 1:
            rest = {name: value for name, value in part.items() if name not in ("anyOf", "default")}
            return _tidy({**choices[0], **rest})
        remaining = {
            k: v
            for k, v in part.items()
            if not ((k == "title" and isinstance(v, str)) or (k == "default" and v is None))
        }
        return {name: _tidy(value) for name, value in remaining.items()}
    return [_tidy(each) for each in part] if isinstance(part, list) else part


def described(operation: Operation) -> Schema:
    """The operation object of OpenAPI."""
    found: Schema = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": str(operation.summary),
        "parameters": [*_parameters(operation)],
        "responses": {
            **{str(status): _response(operation, status) for status in operation.statuses},
            **({} if operation.is_public else UNEXPECTED),
        },
    }
    if operation.description:
        found["description"] = str(operation.description)
    if operation.body is not None:
        content: Schema = {"schema": _ref(operation.body)}
        if operation.example is not None:
            content["example"] = dict(operation.example)
        found["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": content},
        }
    if operation.is_public:
        found["security"] = []
    if operation.is_addition:
        found["x-addition"] = True
    return found


def _parameters(operation: Operation) -> Iterable[Schema]:
    for parameter in operation.path_parameters:
        yield _parameter(parameter, "path")
    for parameter in operation.query:
        yield _parameter(parameter, "query")
    for parameter in operation.headers:
        yield _parameter(parameter, "header")


def _parameter(parameter: Parameter, place: str) -> Schema:
    return {
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": str(parameter.description),
        "schema": parameter.schema,
    }


def _response(operation: Operation, status: int) -> Schema:
    if status != 200:
        return _error_response(status)
    response: Schema = {"description": STATUS_DESCRIPTIONS[status]}
    if operation.media != "application/json":
        response["content"] = {operation.media: {"schema": {"type": "string"}}}
    else:
        response["content"] = {"application/json": {"schema": _ref(operation.answer or Empty)}}
        if operation.is_inference:
            response["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return response


def _error_response(status: int) -> Schema:
    response: Schema = {
        "description": STATUS_DESCRIPTIONS[status],
        "content": {"application/json": {"schema": _ref(Error)}},
    }
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return response


def _ref(model: Any) -> Schema:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
