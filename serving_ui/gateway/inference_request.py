"""The JSON body of a query: parsed, checked for what its task needs, and the few fields that the gateway itself uses. Pure.

Everything else in the body passes through to the provider. Raises GatewayError 400 with a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway import input_size, output_size
from serving_ui.gateway.errors import invalid
from serving_ui.gateway.token_counter import estimate
from serving_ui.lib import json_text

_MAX_ID_CHARS = 256
_MAX_CONTEXT_CHARS = 8192
_COMPLETIONS = Task.COMPLETIONS  # a global, because an enum's member is looked up at each access
_REQUIRED_FIELDS: dict[Task, tuple[str, str, tuple[type, ...]]] = {
    Task.CHAT: ("messages", "a list of messages", (list,)),
    Task.COMPLETIONS: ("prompt", "a string or a list of strings", (str, list)),
    Task.EMBEDDINGS: ("input", "a string or a list of strings", (str, list)),
}
"""(field, its description, its types) that a body of the task must have."""


@dataclass(slots=True)
class InferenceRequest:
    """A checked body. Not frozen, because one is made for every query and a frozen dataclass takes twice as long."""

    body: dict[str, Any]
    stream: bool = False
    is_response: bool = False
    """Whether it is a request of the Responses API."""
    max_output_tokens: int = 0
    """The most tokens that the model may write in all its answers, by parameters such as `max_tokens`; 0 without any."""
    is_unbounded: bool = True
    """Whether the request has no such parameter."""
    shows_usage: bool = False
    """Whether the caller of a stream asks for the chunk with the token counts."""
    client_request_id: str = ""
    usage_context: dict[str, str] = field(default_factory=dict)

    @property
    def text_length(self) -> int:
        """Characters of the input. Computed at each access, because it is needed only if the provider reports no tokens."""
        return input_size.text_length(self.body)

    @property
    def expected_tokens(self) -> int:
        """The estimated tokens of the input and `max_output_tokens`."""
        return estimate(self.text_length) + self.max_output_tokens


def read_body(content: bytes) -> dict[str, Any]:
    try:
        body = json_text.read(content, json_text.REQUEST_BOUNDS)
    except json_text.JsonInvalid as problem:
        raise invalid(f"The request body cannot be read. {problem}") from None
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def endpoint_name(body: dict[str, Any]) -> str:
    """On the OpenAI paths the field `model` names the endpoint."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("The field model is missing. Give the name of the endpoint.")
    return name


def parse_request(body: dict[str, Any], *, task: Task | None, is_response: bool) -> InferenceRequest:
    """Raises unless the body has what its task needs and valid values in the fields that the gateway uses. Without a task it needs nothing."""
    if not is_response and task is not None:
        _check_required_field(body, task)
    merged = body
    if "extra_params" in body and isinstance(body["extra_params"], dict):
        body = {**body, "extra_params": output_size.typed(body["extra_params"])}
        merged = {**body["extra_params"], **body}  # as the provider gets it
    max_output_tokens, is_unbounded = output_size.max_output_tokens(merged, is_prompt=task is _COMPLETIONS)
    request = InferenceRequest(
        body, "stream" in body and _stream(body, task), is_response, max_output_tokens, is_unbounded
    )
    if request.stream and "stream_options" in merged:
        options = merged["stream_options"]
        request.shows_usage = isinstance(options, dict) and options.get("include_usage") is True
    if "client_request_id" in body:
        request.client_request_id = _client_request_id(body)
    if "usage_context" in body:
        request.usage_context = _usage_context(body)
    return request


def _check_required_field(body: dict[str, Any], task: Task) -> None:
    name, description, types = _REQUIRED_FIELDS[task]
    value = body.get(name)
    if value is None:
        raise invalid(
            f"The field {name} is missing. A query to a {task.label} endpoint needs {description} there."
        )
    if not isinstance(value, types) or not value:
        raise invalid(f"The field {name} must be {description}, and not be empty.")


def _stream(body: dict[str, Any], task: Task | None) -> bool:
    stream = body["stream"]
    if stream is None:
        return False
    if not isinstance(stream, bool):
        raise invalid("The field stream must be true or false.")
    if stream and task is Task.EMBEDDINGS:
        raise invalid("An embeddings endpoint does not stream. Leave out the field stream.")
    return stream


def _client_request_id(body: dict[str, Any]) -> str:
    value = body["client_request_id"]
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARS:
        raise invalid(f"The field client_request_id must be a string of at most {_MAX_ID_CHARS} characters.")
    return value


def _usage_context(body: dict[str, Any]) -> dict[str, str]:
    value = body["usage_context"]
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise invalid("The field usage_context must be an object whose values are strings.")
    if sum(len(name) + len(text) for name, text in value.items()) > _MAX_CONTEXT_CHARS:
        raise invalid(f"The field usage_context is longer than {_MAX_CONTEXT_CHARS} characters.")
    return value
