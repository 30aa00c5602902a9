"""Code samples that call an operation for an endpoint: with curl, the Databricks SDK and MLflow."""

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
from serving_ui.catalogue.code_samples import OPENAI_PATHS, as_python, call, sample_body
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText, _

Body = dict[str, Any]
# These paths are called with other clients than the Databricks SDK.
GROUPS_WITHOUT_SDK = (inference.router.group, mlflow_gateway.router.group)
ID = "69962db6b9db47c4a8a222d2ac79d7f8"
_QUERY = {"scope": "my_scope", "key": "my_openai_api_key", "principal": "teammate@example.com"}


@dataclass(frozen=True, kw_only=True)
class SampleEndpoint:
    """The endpoint that the code samples are about."""

    name: str = "my-chat"
    id: str = ID
    task: str = Task.CHAT
    source: ModelSource | None = None
    """Of an own model."""
    config: Mapping[str, Any]
    tags: list[Any]
    rate_limits: list[Any]
    pasted: bool = False
    """Whether the code samples have a placeholder where a key was pasted."""

    @property
    def entity(self) -> str:
        return str(self.config["served_entities"][0]["name"])


EXAMPLE = SampleEndpoint(config=CONFIG, tags=TAGS, rate_limits=LIMITS)


@dataclass(frozen=True)
class CodeSample:
    """The code in one tab."""

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


def code_samples_for(operation: Operation, endpoint: SampleEndpoint = EXAMPLE) -> list[CodeSample]:
    """Code that calls the operation, one sample for each client that can."""
    name = operation.name
    found = [CodeSample(name, "curl", _("curl"), _curl(operation, endpoint))]
    sdk_can_request = not operation.is_public and operation.group not in GROUPS_WITHOUT_SDK
    if operation.sdk or sdk_can_request:
        found.append(CodeSample(name, "sdk", _("Databricks SDK"), _sdk(operation, endpoint)))
    if operation.mlflow:
        found.append(CodeSample(name, "mlflow", _("MLflow"), _mlflow(operation, endpoint)))
    return found


def example_body(operation: Operation, endpoint: SampleEndpoint) -> Body | None:
    """The operation's example, with this endpoint's values."""
    if operation.example is None:
        return None
    made: Mapping[str, Body] = {
        "create_endpoint": {
            "name": endpoint.name,
            "config": dict(endpoint.config),
            **({"rate_limits": endpoint.rate_limits} if endpoint.rate_limits else {}),
            **({"tags": endpoint.tags} if endpoint.tags else {}),
        },
        "update_config": dict(endpoint.config),
        "set_rate_limits": {"rate_limits": endpoint.rate_limits or LIMITS},
    }
    task = Task(endpoint.task) if endpoint.task else None
    if operation.body is InferenceBody:
        return sample_body(task, endpoint.source, table="dataframe_records")
    if operation.body is NamedInferenceBody and task and operation.path == _openai_path(task):
        return {"model": endpoint.name, **sample_body(task)}
    return made.get(operation.name) or dict(operation.example)


def _openai_path(task: Task) -> str:
    return f"/serving-endpoints{OPENAI_PATHS[task]}"


def address(operation: Operation, endpoint: SampleEndpoint) -> str:
    """The path with its parameters filled in, and the required query parameters."""
    filled = _path_values(operation, endpoint)
    path = operation.path.format(**{name: quote(value, safe="") for name, value in filled.items()})
    needed = {each.name: _QUERY[each.name] for each in operation.query if each.required}
    return f"{path}?{urlencode(needed)}" if needed else path


def _path_values(operation: Operation, endpoint: SampleEndpoint) -> dict[str, str]:
    return {
        "name": endpoint.name,
        "served_model_name": endpoint.entity,
        "model_name": "my-llama",
        "model_version": "1",
        "host": "ollama",
        "id": _id(operation, endpoint),
    }


def _id(operation: Operation, endpoint: SampleEndpoint) -> str:
    return endpoint.id if operation.group == "Permissions" else ID


def _curl(operation: Operation, endpoint: SampleEndpoint) -> str:
    return code_samples.curl(
        operation.method,
        f"$DATABRICKS_HOST{address(operation, endpoint)}",
        token="" if operation.is_public else "$DATABRICKS_TOKEN",
        body=example_body(operation, endpoint),
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
_WITH_WAITER = {"serving_endpoints.create", "serving_endpoints.update_config"}  # they answer with a waiter
_ARGUMENTS = {"serving_endpoints": {"id": "serving_endpoint_id"}, "token_management": {"id": "token_id"}}


def _sdk(operation: Operation, endpoint: SampleEndpoint) -> str:
    start = "from databricks.sdk import WorkspaceClient\n{more}\nw = WorkspaceClient()\n"
    if not operation.sdk:
        return start.format(more="") + _sdk_request(operation, endpoint)
    imports: dict[str, set[str]] = {}
    arguments = dict(_arguments(operation, endpoint, imports))
    more = "".join(
        f"from databricks.sdk.service.{module} import {', '.join(sorted(names))}\n"
        for module, names in sorted(imports.items())
    )
    is_list = operation.sdk.endswith("list") or "list_" in operation.sdk
    made = call(f"w.{operation.sdk}", arguments) + (".result()" if operation.sdk in _WITH_WAITER else "")
    if is_list:
        return start.format(more=more) + f"for each in {made}:\n    print(each)"
    return start.format(more=more) + (
        made if operation.answer in (None, Empty) else f"answer = {made}\nprint(answer)"
    )


def _sdk_request(operation: Operation, endpoint: SampleEndpoint) -> str:
    """A request by path, for operations that the SDK has no method for."""
    body = example_body(operation, endpoint)
    arguments = [f'"{operation.method}"', f'"{address(operation, endpoint)}"']
    if body is not None:
        arguments.append(f"body={as_python(body)}")
    return f"answer = w.api_client.do({', '.join(arguments)})\nprint(answer)"


def _arguments(
    operation: Operation, endpoint: SampleEndpoint, imports: dict[str, set[str]]
) -> Iterable[tuple[str, str]]:
    service = operation.sdk.partition(".")[0]
    filled = _path_values(operation, endpoint)
    for name in operation.path_names:
        yield _ARGUMENTS.get(service, {}).get(name, name), as_python(filled[name])
    for parameter in operation.query:
        if parameter.required:
            yield parameter.name, as_python(_QUERY[parameter.name])
    for name, value in (example_body(operation, endpoint) or {}).items():
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


def _mlflow(operation: Operation, endpoint: SampleEndpoint) -> str:
    body = example_body(operation, endpoint)
    arguments = {"endpoint": as_python(endpoint.name)} if operation.path_names else {}
    if body is not None:
        arguments["inputs" if operation.mlflow == "predict" else "config"] = as_python(body)
    return code_samples.mlflow_client(operation.mlflow, arguments)
