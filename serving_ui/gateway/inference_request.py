"""What is asked: a path and a JSON body → endpoint, served entity, task. Pure; raises GatewayError with a sentence.

Only what the gateway itself must know is looked at. Everything else in the body is the provider's business and passes through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from serving_ui.catalogue.openai_request import OPENAI_FIELDS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import GATEWAY_FIELDS, OPENAI_PATHS
from serving_ui.gateway import output_size
from serving_ui.gateway.errors import GatewayError, invalid
from serving_ui.gateway.token_counter import estimate
from serving_ui.lib import json_text

ROOT = "/serving-endpoints"
# Where MLflow sends queries when its target is this server's address: `get_deploy_client("http://HOST:PORT")`.
MLFLOW_ROOT = "/endpoints"
PATHS = {task: path.removeprefix("/") for task, path in OPENAI_PATHS.items()}
_OPENAI = {path: task for task, path in PATHS.items()}
LONGEST_PATH = 256
_ONE_MODEL = 2
_INVOCATIONS = 2
_ENTITY_INVOCATIONS = 4
_MOST_ID = 256
_MOST_CONTEXT = 8192
_OF_A_TOKEN = 4
_NO_TEXT = frozenset({"role", "type", "id", "tool_call_id"})
_READ = frozenset({
    "messages", "prompt", "input", "suffix", "tools", "functions", "response_format", "prediction", "web_search_options",
})  # fmt: skip
# Of what OpenAI knows, the rest is no text for the model; what it does not know (system, documents) may be some.
_NOT_READ = (OPENAI_FIELDS - _READ).union(
    GATEWAY_FIELDS,
    ("include", "previous_response_id", "conversation", "truncation", "background"),  # Responses
)
_CUT = frozenset({"prompt", "input"})
"""Where a number is a token, because the text has been cut already."""
_FILES = frozenset(
    {"url", "uri", "image", "images", "image_url", "file_url", "file_data", "audio_url", "video_url"}
)
"""Where a data URL is a file. Anywhere else it is a text like others."""
_PROPERTIES = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Of a JSON schema: objects whose names are the caller's own."""
_COMPLETIONS = Task.COMPLETIONS  # by its class it is looked up each time
# What a body of the task must have, as (field, what it holds, its types).
_NEEDS: dict[Task, tuple[str, str, tuple[type, ...]]] = {
    Task.CHAT: ("messages", "a list of messages", (list,)),
    Task.COMPLETIONS: ("prompt", "a text or a list of texts", (str, list)),
    Task.EMBEDDINGS: ("input", "a text or a list of texts", (str, list)),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request goes: an endpoint by name, or by task (the body's `model` names the endpoint), or the list, or its one entry."""

    endpoint: str | None = None
    entity: str | None = None
    task: Task | None = None
    is_response: bool = False
    is_list: bool = False


def handles(path: str) -> bool:
    """Whether the path is the gateway's."""
    return path.startswith((ROOT + "/", MLFLOW_ROOT + "/")) or path == ROOT


@lru_cache(maxsize=4096)
def read_path(path: str) -> Address:
    """Ask for `read_path.__wrapped__` with what is longer than LONGEST_PATH: it must not be remembered."""
    root = MLFLOW_ROOT if path.startswith(MLFLOW_ROOT + "/") else ROOT
    rest = path[len(root) :].strip("/")
    task = _OPENAI.get(rest)
    if task is not None:
        return Address(task=task)
    if rest == "responses":
        return Address(task=Task.CHAT, is_response=True)
    if rest == "models":
        return Address(is_list=True)
    parts = rest.split("/")
    if len(parts) == _INVOCATIONS and parts[1] == "invocations":
        return Address(endpoint=parts[0])
    if len(parts) == _ENTITY_INVOCATIONS and parts[1] == "served-models" and parts[3] == "invocations":
        return Address(endpoint=parts[0], entity=parts[2])
    if len(parts) == _ONE_MODEL and parts[0] == "models":
        return Address(endpoint=parts[1], is_list=True)
    raise GatewayError(
        404,
        f"There is nothing at this path. Send queries to {ROOT}/<name>/invocations, or give an OpenAI client {ROOT} as base URL.",
        code="NOT_FOUND",
    )


def read_body(content: bytes) -> dict[str, Any]:
    try:
        body = json_text.read(content, json_text.REQUEST_BOUNDS)
    except json_text.JsonInvalid as problem:
        raise invalid(f"The request body cannot be read. {problem}") from None
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def endpoint_named(body: dict[str, Any]) -> str:
    """On the OpenAI paths `model` names the endpoint."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("The field model is missing. Give the name of the endpoint.")
    return name


@dataclass(slots=True)
class InferenceRequest:
    """A body that has what its task needs. Everything that is not in here is the provider's business.

    Made for every query and not frozen, because that would take longer than all that it is made of.
    """

    body: dict[str, Any]
    stream: bool = False
    is_response: bool = False
    output: int = 0
    """The most tokens that the model may write, as far as it tells."""
    is_open: bool = True
    """Whether it does not tell that."""
    shows_usage: bool = False
    """Whether the caller of a stream asks for the chunk with the token counts."""
    client_request_id: str = ""
    usage_context: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Characters of all its texts, wherever they stand: what tokens are estimated from."""
        body = self.body
        if isinstance(body.get("extra_params"), dict):
            body = {**body["extra_params"], **body}
        total = 0
        for name, value in body.items():
            if name not in _NOT_READ:
                total += _length(value, name)
        return total

    @property
    def tokens(self) -> int:
        """The most that it may use, as far as it tells: an estimate of its texts, and what the model may write."""
        return estimate(self.length) + self.output


def parse_request(body: dict[str, Any], *, task: Task, is_response: bool) -> InferenceRequest:
    """Raises unless the body has what the task needs, and says in numbers how much may be written."""
    if not is_response:
        _check(body, task)
    merged = body
    if "extra_params" in body and isinstance(body["extra_params"], dict):
        body = {**body, "extra_params": output_size.typed(body["extra_params"])}
        merged = {**body["extra_params"], **body}  # as the provider gets it
    output, is_open = output_size.read(merged, is_prompt=task is _COMPLETIONS)
    request = InferenceRequest(body, "stream" in body and _stream(body, task), is_response, output, is_open)
    if request.stream and "stream_options" in merged:
        options = merged["stream_options"]
        request.shows_usage = isinstance(options, dict) and options.get("include_usage") is True
    if "client_request_id" in body:
        request.client_request_id = _client_request_id(body)
    if "usage_context" in body:
        request.usage_context = _usage_context(body)
    return request


def _check(body: dict[str, Any], task: Task) -> None:
    name, holds, types = _NEEDS[task]
    value = body.get(name)
    if value is None:
        raise invalid(f"The field {name} is missing. A query to a {task.label} endpoint needs {holds} there.")
    if not isinstance(value, types) or not value:
        raise invalid(f"The field {name} must be {holds}, and not be empty.")


def _stream(body: dict[str, Any], task: Task) -> bool:
    stream = body["stream"]
    if stream is None:
        return False
    if not isinstance(stream, bool):
        raise invalid("The field stream must be true or false.")
    if stream and task is Task.EMBEDDINGS:
        raise invalid("An embeddings endpoint does not stream. Leave out the field stream.")
    return stream


def _client_request_id(body: dict[str, Any]) -> str:
    given = body["client_request_id"]
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > _MOST_ID:
        raise invalid(f"The field client_request_id must be a text of at most {_MOST_ID} characters.")
    return given


def _usage_context(body: dict[str, Any]) -> dict[str, str]:
    given = body["usage_context"]
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise invalid("The field usage_context must be an object of texts.")
    if sum(len(name) + len(value) for name, value in given.items()) > _MOST_CONTEXT:
        raise invalid(f"The field usage_context is longer than {_MOST_CONTEXT} characters.")
    return given


def _length(value: Any, name: str) -> int:
    """Characters of the texts in what is called `name`. Loops, since a generator takes longer than all that it finds."""
    if isinstance(value, str):
        return 0 if name in _FILES and value.startswith("data:") else len(value)
    total = 0
    if isinstance(value, list):
        for each in value:
            total += _length(each, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _NO_TEXT or not isinstance(inner, str):
                total += _length(inner, key)
        if name in _PROPERTIES:
            total += sum(map(len, value))
    elif isinstance(value, int) and name in _CUT:
        return _OF_A_TOKEN
    return total
