"""Programs that make one call, for curl, the Databricks SDK and MLflow, with the endpoint at hand put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from serving_ui.api.answers import Empty
from serving_ui.api.operation import Operation
from serving_ui.api.views import inference, mlflow_gateway
from serving_ui.api.views.endpoints import CONFIG, LIMITS, TAGS
from serving_ui.api.views.inference import InferenceBody, NamedInferenceBody
from serving_ui.catalogue import code_samples
from serving_ui.catalogue.code_samples import OPENAI_PATHS, SAMPLE_BODIES, as_python, call
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText, _

Body = dict[str, Any]
# Nobody has the Databricks SDK make these by hand: they have their own clients.
WITHOUT_SDK = (inference.router.group, mlflow_gateway.router.group)
ID = "69962db6b9db47c4a8a222d2ac79d7f8"
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


EXAMPLE = Subject(config=CONFIG, tags=TAGS, rate_limits=LIMITS)


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
    by_hand = not operation.is_public and operation.group not in WITHOUT_SDK
    if operation.sdk or by_hand:
        found.append(Program(name, "sdk", _("Databricks SDK"), _sdk(operation, subject)))
    if operation.mlflow:
        found.append(Program(name, "mlflow", _("MLflow"), _mlflow(operation, subject)))
    return found


def example_body(operation: Operation, subject: Subject) -> Body | None:
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
        "set_rate_limits": {"rate_limits": subject.rate_limits or LIMITS},
    }
    if operation.body is InferenceBody:
        return dict(SAMPLE_BODIES[Task(subject.task)])
    if operation.body is NamedInferenceBody and _suits(operation, subject):
        return {"model": subject.name, **SAMPLE_BODIES[Task(subject.task)]}
    return made.get(operation.name) or dict(operation.example)


def _suits(operation: Operation, subject: Subject) -> bool:
    """Whether the OpenAI path is the one of the endpoint's task."""
    return operation.path == f"/serving-endpoints{OPENAI_PATHS[Task(subject.task)]}"


def address(operation: Operation, subject: Subject) -> str:
    """The path with its parameters filled in, and the query that must be given."""
    filled = {"name": subject.name, "served_model_name": subject.entity, "id": _id(operation, subject)}
    path = operation.path.format(**{name: quote(value, safe="") for name, value in filled.items()})
    needed = {each.name: _QUERY[each.name] for each in operation.query if each.required}
    return f"{path}?{urlencode(needed)}" if needed else path


def _id(operation: Operation, subject: Subject) -> str:
    return subject.id if operation.group == "Permissions" else ID


def _curl(operation: Operation, subject: Subject) -> str:
    return code_samples.curl(
        operation.method,
        f"$DATABRICKS_HOST{address(operation, subject)}",
        token="" if operation.is_public else "$DATABRICKS_TOKEN",
        body=example_body(operation, subject),
    )


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
_ARGUMENTS = {"serving_endpoints": {"id": "serving_endpoint_id"}, "token_management": {"id": "token_id"}}


def _sdk(operation: Operation, subject: Subject) -> str:
    start = "from databricks.sdk import WorkspaceClient\n{more}\nw = WorkspaceClient()\n"
    if not operation.sdk or operation.is_refused:
        return start.format(more="") + _done_by_hand(operation, subject)
    imports: dict[str, set[str]] = {}
    arguments = dict(_arguments(operation, subject, imports))
    more = "".join(
        f"from databricks.sdk.service.{module} import {', '.join(sorted(names))}\n"
        for module, names in sorted(imports.items())
    )
    listed = "for each in " if operation.sdk.endswith("list") or "list_" in operation.sdk else ""
    made = call(f"w.{operation.sdk}", arguments) + (".result()" if operation.sdk in _WAITED_FOR else "")
    if listed:
        return start.format(more=more) + f"for each in {made}:\n    print(each)"
    return start.format(more=more) + (
        made if operation.answer in (None, Empty) else f"answer = {made}\nprint(answer)"
    )


def _done_by_hand(operation: Operation, subject: Subject) -> str:
    """For what the SDK has no method for."""
    body = example_body(operation, subject)
    arguments = [f'"{operation.method}"', f'"{address(operation, subject)}"']
    if body is not None:
        arguments.append(f"body={as_python(body)}")
    return f"answer = w.api_client.do({', '.join(arguments)})\nprint(answer)"


def _arguments(
    operation: Operation, subject: Subject, imports: dict[str, set[str]]
) -> Iterable[tuple[str, str]]:
    service = operation.sdk.partition(".")[0]
    filled = {"name": subject.name, "served_model_name": subject.entity, "id": _id(operation, subject)}
    for name in operation.path_names:
        yield _ARGUMENTS.get(service, {}).get(name, name), as_python(filled[name])
    for parameter in operation.query:
        if parameter.required:
            yield parameter.name, as_python(_QUERY[parameter.name])
    for name, value in (example_body(operation, subject) or {}).items():
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
    body = example_body(operation, subject)
    arguments = {"endpoint": as_python(subject.name)} if operation.path_names else {}
    if body is not None:
        arguments["inputs" if operation.mlflow == "predict" else "config"] = as_python(body)
    return code_samples.mlflow_client(operation.mlflow, arguments)
