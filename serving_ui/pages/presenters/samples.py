"""Requests prepared for each task, and programs that send them, ready to paste."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from serving_ui.catalogue.tasks import Task

_CHAT = {
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is a serving endpoint?"},
    ],
    "max_tokens": 256,
}
_BODIES: dict[Task, dict[str, Any]] = {
    Task.CHAT: _CHAT,
    Task.COMPLETIONS: {"prompt": "A serving endpoint is", "max_tokens": 128},
    Task.EMBEDDINGS: {"input": ["A serving endpoint answers queries.", "A second text."]},
}
_OPENAI_CALLS = {
    Task.CHAT: ("chat.completions.create", "print(reply.choices[0].message.content)"),
    Task.COMPLETIONS: ("completions.create", "print(reply.choices[0].text)"),
    Task.EMBEDDINGS: ("embeddings.create", "print([len(item.embedding) for item in reply.data])"),
}
TOKEN = "<token>"  # noqa: S105 (a gap to fill in)


@dataclass(frozen=True)
class Sample:
    """A program in a tab."""

    key: str
    label: str
    code: str


def request_body(task: Task) -> str:
    """The JSON that the query page starts with; a chat is streamed."""
    body = {**_BODIES[task], "stream": True} if task is Task.CHAT else _BODIES[task]
    return json.dumps(body, indent=2)


def programs(*, name: str, task: Task, base: str) -> list[Sample]:
    """Curl, the OpenAI client and the MLflow client, against this server at `base`."""
    return [
        Sample("curl", "Curl", _curl(name, task, base)),
        Sample("openai", "Python (OpenAI client)", _openai(name, task, base)),
        Sample("mlflow", "Python (MLflow)", _mlflow(name, task, base)),
    ]


def _curl(name: str, task: Task, base: str) -> str:
    # The body holds no single quote, which alone would end the shell's string.
    body = json.dumps(_BODIES[task], indent=2)
    return (
        f"curl -X POST {base}/serving-endpoints/{name}/invocations \\\n"
        f'  -H "Authorization: Bearer {TOKEN}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def _openai(name: str, task: Task, base: str) -> str:
    call, show = _OPENAI_CALLS[task]
    given = "".join(
        f"    {key}={_python(value)},\n" for key, value in {"model": name, **_BODIES[task]}.items()
    )
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base}/serving-endpoints", api_key="{TOKEN}")\n\n'
        f"reply = client.{call}(\n{given})\n{show}"
    )


def _mlflow(name: str, task: Task, base: str) -> str:
    return (
        "import os\n\n"
        "from mlflow.deployments import get_deploy_client\n\n"
        f'os.environ["DATABRICKS_HOST"] = "{base}"\n'
        f'os.environ["DATABRICKS_TOKEN"] = "{TOKEN}"\n\n'
        'client = get_deploy_client("databricks")\n'
        f'reply = client.predict(\n    endpoint="{name}",\n    inputs={_python(_BODIES[task])},\n)\nprint(reply)'
    )


def _python(value: Any) -> str:
    # JSON of these bodies is Python as well: they hold strings, numbers, lists and objects only.
    return json.dumps(value, indent=4).replace("\n", "\n    ")
