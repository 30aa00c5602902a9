"""The example request of the query page, and code samples that send it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from serving_ui.catalogue.code_samples import (
    SAMPLE_BODIES,
    as_python,
    curl,
    mlflow_client,
    openai_client,
)
from serving_ui.catalogue.tasks import Task

TOKEN = "<token>"  # noqa: S105 (a placeholder)


@dataclass(frozen=True)
class CodeSample:
    """The code in one tab."""

    key: str
    label: str
    code: str


def request_body(task: Task) -> str:
    """The JSON that the query page starts with; a chat is streamed."""
    body = {**SAMPLE_BODIES[task], "stream": True} if task is Task.CHAT else SAMPLE_BODIES[task]
    return json.dumps(body, indent=2)


def code_samples(*, name: str, task: Task, base: str) -> list[CodeSample]:
    """Curl, the OpenAI client and the MLflow client, against this server at `base`."""
    body = SAMPLE_BODIES[task]
    query = {"endpoint": as_python(name), "inputs": as_python(body)}
    url = f"{base}/serving-endpoints/{name}/invocations"
    return [
        CodeSample("curl", "Curl", curl("POST", url, token=TOKEN, body=body)),
        CodeSample(
            "openai",
            "Python (OpenAI client)",
            openai_client(task, endpoint=name, base=base, token=TOKEN),
        ),
        CodeSample("mlflow", "Python (MLflow)", mlflow_client("predict", query, base=base, token=TOKEN)),
    ]
