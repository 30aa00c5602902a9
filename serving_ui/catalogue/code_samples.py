"""Code samples that call this server: curl, requests, the OpenAI, MLflow and Databricks clients, and formatted values.

URL and token are arguments: a value, a placeholder or a shell variable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import model_signature
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.tasks import Task

SAMPLE_BODIES: Mapping[Task, dict[str, Any]] = {
    Task.CHAT: {
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is a serving endpoint?"},
        ],
        "max_tokens": 256,
    },
    Task.COMPLETIONS: {"prompt": "A serving endpoint is", "max_tokens": 128},
    Task.EMBEDDINGS: {"input": ["A serving endpoint answers queries.", "A second text."]},
}
OPENAI_PATHS: Mapping[Task, str] = {
    Task.CHAT: "/chat/completions",
    Task.COMPLETIONS: "/completions",
    Task.EMBEDDINGS: "/embeddings",
}
_OPENAI_CALLS = {
    Task.CHAT: ("chat.completions.create", "reply.choices[0].message.content"),
    Task.COMPLETIONS: ("completions.create", "reply.choices[0].text"),
    Task.EMBEDDINGS: ("embeddings.create", "[len(item.embedding) for item in reply.data]"),
}
_MAX_LINE = 72


def sample_body(
    task: Task | None, source: ModelSource | None = None, *, table: str = "dataframe_split"
) -> dict[str, Any]:
    """The body of a query. `source` is the own model of an endpoint without a task, and `table` the form of a table for it."""
    if task:
        return dict(SAMPLE_BODIES[task])
    if source and source.kind == SourceKind.MLFLOW:
        return model_signature.example_body(source.signature, table=table)
    return {"inputs": [1.0, 2.0]}


def curl(method: str, url: str, *, token: str, body: Mapping[str, Any] | None = None) -> str:
    """A shell command. `token` may be a shell variable; no access token is sent if it is empty."""
    lines = [f'curl {"" if method == "GET" else f"-X {method} "}"{url}"']
    if token:
        lines.append(f'  -H "Authorization: Bearer {token}"')
    if body is not None:
        # A single quote ends the shell string, adds an escaped quote, and begins a new string.
        text = as_json(body).replace("'", "'\\''")
        lines += ['  -H "Content-Type: application/json"', f"  -d '{text}'"]
    return " \\\n".join(lines)


def openai_client(task: Task, *, endpoint: str, base: str, token: str) -> str:
    """A query with the OpenAI client. `base` is the URL of this server."""
    function, shown = _OPENAI_CALLS[task]
    arguments = {"model": endpoint, **SAMPLE_BODIES[task]}
    query = call(f"client.{function}", {name: as_python(value) for name, value in arguments.items()})
    client = call("OpenAI", {"base_url": as_python(f"{base}/serving-endpoints"), "api_key": as_python(token)})
    return f"from openai import OpenAI\n\nclient = {client}\n\nreply = {query}\nprint({shown})"


def requests_client(url: str, *, body: Mapping[str, Any], token: str) -> str:
    """A query with the library requests."""
    headers = {"Authorization": f"Bearer {token}"}
    made = call(
        "requests.post", {"url": as_python(url), "headers": as_python(headers), "json": as_python(body)}
    )
    return f"import requests\n\nanswer = {made}\nanswer.raise_for_status()\nprint(answer.json())"


def databricks_client(endpoint: str, *, body: Mapping[str, Any], base: str, token: str) -> str:
    """A query with the Databricks SDK. The fields of `body` are parameters of its method, and not `dataframe_split`."""
    client = call("WorkspaceClient", {"host": as_python(base), "token": as_python(token)})
    arguments = {name: as_python(value) for name, value in {"name": endpoint, **body}.items()}
    made = call("w.serving_endpoints.query", arguments)
    return f"from databricks.sdk import WorkspaceClient\n\nw = {client}\nanswer = {made}\nprint(answer.predictions)"


def mlflow_client(function: str, arguments: Mapping[str, str], *, base: str = "", token: str = "") -> str:
    """A call of the MLflow Deployments client, which reads URL and token from the environment if `base` is empty."""
    start = "from mlflow.deployments import get_deploy_client\n\n"
    if base:
        start = (
            f"import os\n\n{start}"
            f'os.environ["DATABRICKS_HOST"] = {as_python(base)}\n'
            f'os.environ["DATABRICKS_TOKEN"] = {as_python(token)}\n\n'
        )
    made = call(f"client.{function}", arguments)
    return f'{start}client = get_deploy_client("databricks")\nanswer = {made}\nprint(answer)'


def call(function: str, arguments: Mapping[str, str]) -> str:
    """A Python call, on one line if it is short. The arguments are Python expressions."""
    short = f"{function}({', '.join(f'{name}={value}' for name, value in arguments.items())})"
    if "\n" not in short and len(short) <= 88:
        return short
    lines = (f"    {name}={value}," for name, value in arguments.items())
    return f"{function}(\n" + "\n".join(line.replace("\n", "\n    ") for line in lines) + "\n)"


def as_python(value: Any) -> str:
    """A Python literal, with trailing commas."""
    return _formatted(value, python=True)


def as_json(value: Any) -> str:
    """JSON in the same layout."""
    return _formatted(value, python=False)


def _formatted(value: Any, *, python: bool) -> str:
    """The value on several lines, with small objects and lists on one line each."""
    whole = _on_one_line(value, python=python)
    if len(whole) <= _MAX_LINE and not _is_deep(value):
        return whole
    if isinstance(value, Mapping):
        parts = [f"{_text(name)}: {_formatted(each, python=python)}" for name, each in value.items()]
        return "{" + _block(parts, python=python) + "}"
    if isinstance(value, list):
        return "[" + _block([_formatted(each, python=python) for each in value], python=python) + "]"
    return whole


def _block(parts: list[str], *, python: bool) -> str:
    inside = ",\n".join(parts) + ("," if python else "")
    return "\n    " + inside.replace("\n", "\n    ") + "\n"


def _is_deep(value: Any) -> bool:
    """Whether an object contains a non-empty object or list."""
    inside = value.values() if isinstance(value, Mapping) else ()
    return any(isinstance(each, Mapping | list) and each for each in inside)


def _on_one_line(value: Any, *, python: bool) -> str:
    if isinstance(value, Mapping):
        inside = (f"{_text(name)}: {_on_one_line(each, python=python)}" for name, each in value.items())
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_on_one_line(each, python=python) for each in value) + "]"
    if isinstance(value, str):
        return _text(value)
    return repr(value) if python else json.dumps(value)


def _text(value: str) -> str:
    """A string literal, which is the same in JSON and Python."""
    return json.dumps(value, ensure_ascii=False)
