"""The example request of the query page, and code samples that send it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from serving_ui.catalogue.code_samples import (
    as_json,
    as_python,
    curl,
    databricks_client,
    mlflow_client,
    openai_client,
    requests_client,
    sample_body,
)
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.tasks import Task

TOKEN = "<token>"  # noqa: S105 (a placeholder)


@dataclass(frozen=True)
class CodeSample:
    """The code in one tab."""

    key: str
    label: str
    code: str


def request_body(task: Task | None, source: ModelSource | None = None) -> str:
    """The JSON that the query page starts with; a chat is streamed."""
    body = sample_body(task, source)
    if task is None:
        return as_json(body)  # a row of a table on a line
    return json.dumps({**body, "stream": True} if task is Task.CHAT else body, indent=2)


def code_samples(
    *, name: str, task: Task | None, base: str, source: ModelSource | None = None
) -> list[CodeSample]:
    """Code that queries the endpoint at `base`. `source` is the own model of an endpoint without a task."""
    body = sample_body(task, source)
    query = {"endpoint": as_python(name), "inputs": as_python(body)}
    url = f"{base}/serving-endpoints/{name}/invocations"
    mlflow = CodeSample("mlflow", "Python (MLflow)", mlflow_client("predict", query, base=base, token=TOKEN))
    found = [CodeSample("curl", "Curl", curl("POST", url, token=TOKEN, body=body))]
    if task:
        code = openai_client(task, endpoint=name, base=base, token=TOKEN)
        return [*found, CodeSample("openai", "Python (OpenAI client)", code), mlflow]
    found.append(CodeSample("requests", "Python (requests)", requests_client(url, body=body, token=TOKEN)))
    records = sample_body(task, source, table="dataframe_records")
    code = databricks_client(name, body=records, base=base, token=TOKEN)
    return [*found, mlflow, CodeSample("databricks", "Python (Databricks SDK)", code)]
