"""Programs that make one call, for curl, the Databricks SDK and MLflow, with the endpoint at hand put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from serving_ui.api.description import asking, serving
from serving_ui.api.description import given as given_bodies
from serving_ui.api.description.literals import as_json, as_python
from serving_ui.api.description.operation import INVOCATIONS, Operation
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText, _

Body = dict[str, Any]
ID = "69962db6b9db47c4a8a222d2ac79d7f8"
QUESTIONS: Mapping[str, Body] = {
    Task.CHAT: asking.HELLO,
    Task.COMPLETIONS: {"prompt": "A serving endpoint is", "max_tokens": 64},
    Task.EMBEDDINGS: {"input": ["A serving endpoint answers queries."]},
}
OPENAI_PATHS: Mapping[str, str] = {
    Task.CHAT: "/chat/completions",
    Task.COMPLETIONS: "/completions",
    Task.EMBEDDINGS: "/embeddings",
}
_QUERY = {"scope": "my_scope", "key": "my_openai_api_key", "principal": "teammate@example.com"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The endpoint that the programs are about."""

    name: str = "my-chat"
    id: str = ID
    task: str = Task.CHAT
    config: Mapping[str, Any]
    tags: list[Any]
    rate_limits: list[Any]
    pasted: bool = False
    """Whether the programs name a placeholder where a key was pasted."""

    @property
    def entity(self) -> str:
        return str(self.config["served_entities"][0]["name"])


EXAMPLE = Subject(config=serving.CONFIG, tags=serving.TAGS, rate_limits=serving.LIMITS)


@dataclass(frozen=True)
class Program:
    """What a tab shows."""

    operation: str
    key: str
    label: TranslatableText
    code: str

    @property
    def id(self) -> str:
        return f"{self.operation}-{self.key}"

    @property
    def code_id(self) -> str:
        return f"code-{self.id}"


def programs(operation: Operation, subject: Subject = EXAMPLE) -> list[Program]:
    """The operation called in every way that there is."""
    name = operation.name
    found = [Program(name, "curl", _("curl"), _curl(operation, subject))]
    by_hand = not operation.public and operation.group not in (asking.GROUP, asking.MLFLOW)
    if operation.sdk or by_hand:
        found.append(Program(name, "sdk", _("Databricks SDK"), _sdk(operation, subject)))
    if operation.mlflow:
        found.append(Program(name, "mlflow", _("MLflow"), _mlflow(operation, subject)))
    return found


def given(operation: Operation, subject: Subject) -> Body | None:
    """The body of the example, about this endpoint."""
    if operation.example is None:
        return None
    made: Mapping[str, Body] = {
        "create_endpoint": {
            "name": subject.name,
            "config": dict(subject.config),
            **({"rate_limits": subject.rate_limits} if subject.rate_limits else {}),
            **({"tags": subject.tags} if subject.tags else {}),
        },
        "update_config": dict(subject.config),
        "set_rate_limits": {"rate_limits": subject.rate_limits or serving.LIMITS},
    }
    if operation.body is given_bodies.Question:
        return dict(QUESTIONS[subject.task])
    if operation.body is given_bodies.NamedQuestion and _suits(operation, subject):
        return {"model": subject.name, **QUESTIONS[subject.task]}
    return made.get(operation.name) or dict(operation.example)


def _suits(operation: Operation, subject: Subject) -> bool:
    """Whether the OpenAI path is the one of the endpoint's task."""
    return operation.path == INVOCATIONS + OPENAI_PATHS[subject.task]


def address(operation: Operation, subject: Subject) -> str:
    """The path with its holes filled, and the query that must be given."""
    filled = {"name": subject.name, "served_model_name": subject.entity, "id": _id(operation, subject)}
    path = operation.path.format(**{name: quote(value, safe="") for name, value in filled.items()})
    needed = {each.name: _QUERY[each.name] for each in operation.query if each.required}
    return f"{path}?{urlencode(needed)}" if needed else path


def _id(operation: Operation, subject: Subject) -> str:
    return subject.id if operation.group == "Permissions" else ID


def _curl(operation: Operation, subject: Subject) -> str:
    body = given(operation, subject)
    method = "" if operation.method == "GET" else f"-X {operation.method} "
    lines = [f'curl {method}"$DATABRICKS_HOST{address(operation, subject)}"']
    if not operation.public:
        lines.append('  -H "Authorization: Bearer $DATABRICKS_TOKEN"')
    if body is not None:
        # A single quote ends the shell's string; it is put outside of it.
        text = as_json(body).replace("'", "'\\''")
        lines += ['  -H "Content-Type: application/json"', f"  -d '{text}'"]
    return " \\\n".join(lines)


_OBJECTS = {
    "config": "EndpointCoreConfigInput",
    "traffic_config": "TrafficConfig",
    "email_notifications": "EmailNotifications",
    "usage_tracking_config": "AiGatewayUsageTrackingConfig",
    "telemetry_config": "TelemetryConfig",
}
_LISTS = {
    "served_entities": "ServedEntityInput",
    "tags": "EndpointTag",
    "add_tags": "EndpointTag",
    "rate_limits": "RateLimit",
    "access_control_list": "ServingEndpointAccessControlRequest",
    "messages": "ChatMessage",
}
_WAITED_FOR = {"serving_endpoints.create", "serving_endpoints.update_config"}  # they answer with a waiter
_HOLES = {"serving_endpoints": {"id": "serving_endpoint_id"}, "token_management": {"id": "token_id"}}


def _sdk(operation: Operation, subject: Subject) -> str:
    start = "from databricks.sdk import WorkspaceClient\n{more}\nw = WorkspaceClient()\n"
    if not operation.sdk or operation.refused:
        return start.format(more="") + _done_by_hand(operation, subject)
    imports: dict[str, set[str]] = {}
    arguments = dict(_arguments(operation, subject, imports))
    more = "".join(
        f"from databricks.sdk.service.{module} import {', '.join(sorted(names))}\n"
        for module, names in sorted(imports.items())
    )
    listed = "for each in " if operation.sdk.endswith("list") or "list_" in operation.sdk else ""
    call = _call(f"w.{operation.sdk}", arguments) + (".result()" if operation.sdk in _WAITED_FOR else "")
    if listed:
        return start.format(more=more) + f"for each in {call}:\n    print(each)"
    return start.format(more=more) + (call if operation.answer is None else f"answer = {call}\nprint(answer)")


def _done_by_hand(operation: Operation, subject: Subject) -> str:
    """For what the SDK has no method for."""
    body = given(operation, subject)
    arguments = [f'"{operation.method}"', f'"{address(operation, subject)}"']
    if body is not None:
        arguments.append(f"body={as_python(body)}")
    return f"answer = w.api_client.do({', '.join(arguments)})\nprint(answer)"


def _arguments(
    operation: Operation, subject: Subject, imports: dict[str, set[str]]
) -> Iterable[tuple[str, str]]:
    service = operation.sdk.partition(".")[0]
    filled = {"name": subject.name, "served_model_name": subject.entity, "id": _id(operation, subject)}
    for hole in operation.holes:
        yield _HOLES.get(service, {}).get(hole, hole), as_python(filled[hole])
    for parameter in operation.query:
        if parameter.required:
            yield parameter.name, as_python(_QUERY[parameter.name])
    for name, value in (given(operation, subject) or {}).items():
        if name in _OBJECTS:
            imports.setdefault("serving", set()).add(_OBJECTS[name])
            yield name, f"{_OBJECTS[name]}.from_dict({as_python(value)})"
        elif name in _LISTS:
            imports.setdefault("serving", set()).add(_LISTS[name])
            yield name, f"[{', '.join(f'{_LISTS[name]}.from_dict({as_python(each)})' for each in value)}]"
        elif name == "permission":
            imports.setdefault("workspace", set()).add("AclPermission")
            yield name, f"AclPermission.{value}"
        else:
            yield name, as_python(value)


def _mlflow(operation: Operation, subject: Subject) -> str:
    body = given(operation, subject)
    arguments = {"endpoint": as_python(subject.name)} if operation.holes else {}
    if body is not None:
        arguments["inputs" if operation.mlflow == "predict" else "config"] = as_python(body)
    call = _call(f"client.{operation.mlflow}", arguments)
    return (
        "from mlflow.deployments import get_deploy_client\n\n"
        f'client = get_deploy_client("databricks")\nanswer = {call}\nprint(answer)'
    )


def _call(function: str, arguments: Mapping[str, str]) -> str:
    short = f"{function}({', '.join(f'{name}={value}' for name, value in arguments.items())})"
    if "\n" not in short and len(short) <= 88:
        return short
    lines = (f"    {name}={value}," for name, value in arguments.items())
    return f"{function}(\n" + "\n".join(line.replace("\n", "\n    ") for line in lines) + "\n)"
