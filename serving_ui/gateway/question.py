"""What is asked: a path and a JSON body → endpoint, served entity, task. Pure; raises GatewayError with a sentence.

Only what the gateway itself must know is looked at. Everything else in the body is the provider's business and passes through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.errors import GatewayError, invalid

ROOT = "/serving-endpoints"
# Where MLflow sends queries when its target is this server's address: `get_deploy_client("http://HOST:PORT")`.
MLFLOW_ROOT = "/endpoints"
_OPENAI = {
    "chat/completions": Task.CHAT,
    "completions": Task.COMPLETIONS,
    "embeddings": Task.EMBEDDINGS,
}
_INVOCATIONS = 2
_ENTITY_INVOCATIONS = 4
# What a body of the task must have, as (field, what it holds, its types).
_NEEDS: dict[Task, tuple[str, str, tuple[type, ...]]] = {
    Task.CHAT: ("messages", "a list of messages", (list,)),
    Task.COMPLETIONS: ("prompt", "a text or a list of texts", (str, list)),
    Task.EMBEDDINGS: ("input", "a text or a list of texts", (str, list)),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request goes: an endpoint by name, or by task (the body's `model` names the endpoint), or the list."""

    endpoint: str | None = None
    entity: str | None = None
    task: Task | None = None
    is_list: bool = False


def handles(path: str) -> bool:
    """Whether the path is the gateway's."""
    return path.startswith((ROOT + "/", MLFLOW_ROOT + "/")) or path == ROOT


def read_path(path: str) -> Address:
    root = MLFLOW_ROOT if path.startswith(MLFLOW_ROOT + "/") else ROOT
    rest = path[len(root) :].strip("/")
    task = _OPENAI.get(rest)
    if task is not None:
        return Address(task=task)
    if rest == "models":
        return Address(is_list=True)
    parts = rest.split("/")
    if len(parts) == _INVOCATIONS and parts[1] == "invocations":
        return Address(endpoint=parts[0])
    if len(parts) == _ENTITY_INVOCATIONS and parts[1] == "served-models" and parts[3] == "invocations":
        return Address(endpoint=parts[0], entity=parts[2])
    raise GatewayError(
        404, f"There is nothing at this path. Send queries to {ROOT}/<name>/invocations.", code="NOT_FOUND"
    )


def read_body(content: bytes) -> dict[str, Any]:
    try:
        body = from_json(content, allow_inf_nan=False)
    except ValueError as problem:
        raise invalid(f"The request body is not valid JSON: {problem}.") from problem
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def endpoint_named(body: dict[str, Any]) -> str:
    """On the OpenAI paths `model` names the endpoint."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("The field model is missing. Give the name of the endpoint.")
    return name


def check_body(body: dict[str, Any], *, task: Task) -> bool:
    """Raise unless the body has what the task needs. Gives whether a stream is asked for."""
    field, holds, types = _NEEDS[task]
    value = body.get(field)
    if value is None:
        raise invalid(
            f"The field {field} is missing. A query to a {task.label} endpoint needs {holds} there."
        )
    if not isinstance(value, types) or not value:
        raise invalid(f"The field {field} must be {holds}, and not be empty.")
    stream = body.get("stream")
    if stream is None:
        return False
    if not isinstance(stream, bool):
        raise invalid("The field stream must be true or false.")
    if stream and task is Task.EMBEDDINGS:
        raise invalid("An embeddings endpoint does not stream. Leave out the field stream.")
    return stream


def shows_usage(body: dict[str, Any]) -> bool:
    """Whether the caller of a stream asks for the chunk with the token counts."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
