"""Compares our wire format with Google's Python client: the same requests, and it reads the recorded replies.

Differences: the client writes some fields with underscores, which Google accepts too; it adds a role to system instructions; it
sends an empty generationConfig; and it leaves the placeholder for a missing signature of Gemini 3 to its caller, as bytes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import google.auth.credentials
import pytest
from google import genai
from google.genai import types

from serving_ui.catalogue.providers.google_cloud_vertex_ai import embeddings, models
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_contents import NO_SIGNATURE
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_request import camel
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Received, Vendor, running_vendor

GOOGLE = {each.path.stem: each for each in RECORDINGS if each.provider.name == "google-cloud-vertex-ai"}
GENERATED = [each for each in GOOGLE.values() if each.task is not Task.EMBEDDINGS]
Query = Callable[[genai.Client], Any]


class Credentials(google.auth.credentials.Credentials):
    """Credentials with a valid token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "token-1"

    def refresh(self, request: Any) -> None:
        """The token never expires."""


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture(scope="module")
def client(vendor: Vendor) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=vendor.url, api_version="v1")
    made = genai.Client(
        vertexai=True,
        project="my-project",
        location="us-central1",
        credentials=Credentials(),
        http_options=options,
    )
    yield made
    made.close()


def text(value: str, role: str = "user") -> types.Content:
    return types.Content(role=role, parts=[types.Part(text=value)])


def called(name: str, args: dict[str, Any], signature: bytes | None = None) -> types.Part:
    return types.Part(function_call=types.FunctionCall(name=name, args=args), thought_signature=signature)


def returned(name: str, response: dict[str, Any]) -> types.Part:
    return types.Part(function_response=types.FunctionResponse(name=name, response=response))


CLOCK = types.FunctionDeclaration(name="clock")
WEATHER = types.FunctionDeclaration(
    name="weather",
    description="The weather of a city.",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
SCHEMA = {
    "type": "object",
    "properties": {"hello": {"type": "string"}},
    "required": ["hello"],
    "additionalProperties": False,
}


def tool(*declared: types.FunctionDeclaration) -> types.Tool:
    return types.Tool(function_declarations=list(declared))


def mode(value: str, *names: str) -> types.ToolConfig:
    calling = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode(value), allowed_function_names=list(names) or None
    )
    return types.ToolConfig(function_calling_config=calling)


CHATS: dict[str, tuple[list[types.Content], dict[str, Any]]] = {
    "hello": (
        [text("Say hello."), text("Hello.", "model"), text("Again.")],
        {
            "system_instruction": [types.Part(text="Be brief."), types.Part(text="In French.")],
            "temperature": 0.2,
            "top_p": 0.9,
            "max_output_tokens": 50,
            "stop_sequences": ["END"],
            "seed": 7,
            "frequency_penalty": 0.5,
            "presence_penalty": -0.5,
        },
    ),
    "tool-calls": (
        [text("Weather in Paris and Rome?")],
        {"tools": [tool(WEATHER, CLOCK)], "tool_config": mode("VALIDATED")},
    ),
    "tool-results": (
        [
            text("Weather in Paris and Rome?"),
            types.Content(
                role="model",
                parts=[called("weather", {"city": "Paris"}, b"signed"), called("weather", {"city": "Rome"})],
            ),
            types.Content(
                role="user",
                parts=[returned("weather", {"output": "rain"}), returned("weather", {"sky": "blue"})],
            ),
            types.Content(
                role="model", parts=[types.Part(text="One more."), called("clock", {}, NO_SIGNATURE.encode())]
            ),
            types.Content(role="user", parts=[returned("clock", {"output": "[12, 30]"})]),
            text("Well?"),
        ],
        {"tools": [tool(CLOCK)], "tool_config": mode("NONE")},
    ),
    "tool-results-of-older-models": (
        [
            text("Time?"),
            types.Content(role="model", parts=[called("clock", {})]),
            types.Content(role="user", parts=[returned("clock", {"output": "noon"})]),
        ],
        {"tools": [tool(CLOCK)], "tool_config": mode("ANY", "clock")},
    ),
    "images": (
        [
            types.Content(
                role="user",
                parts=[
                    types.Part(text="What are these?"),
                    types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n", mime_type="image/png"),
                    types.Part.from_uri(
                        file_uri="https://pictures.example/a/cat.webp?size=2", mime_type="image/webp"
                    ),
                    types.Part.from_uri(file_uri="https://pictures.example/7", mime_type="image/jpeg"),
                    types.Part.from_uri(file_uri="gs://bucket/dog.png"),
                ],
            )
        ],
        {},
    ),
    "json-schema": (
        [text("Say hello.")],
        {
            "response_mime_type": "application/json",
            "response_json_schema": SCHEMA,
            "response_logprobs": True,
            "logprobs": 2,
        },
    ),
    "said-by-default": ([text("Say hello.")], {"temperature": 1, "top_p": 1}),
    "json-object": (
        [text("Say hello.")],
        {"response_mime_type": "application/json", "max_output_tokens": 3},
    ),
    "thinking": (
        [text("Say hello.")],
        {
            "thinking_config": types.ThinkingConfig(
                include_thoughts=True, thinking_level=types.ThinkingLevel.LOW
            )
        },
    ),
    "no-thinking-of-older-models": (
        [text("Say hello.")],
        {"thinking_config": types.ThinkingConfig(thinking_budget=0)},
    ),
    "two-choices": ([text("Say hello.")], {"candidate_count": 2}),
    "stream-hello": ([text("Say hello.")], {}),
    "completion": (
        [text("Once upon")],
        {"temperature": 0, "candidate_count": 2, "max_output_tokens": 5, "stop_sequences": ["."]},
    ),
}
VECTORS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "embeddings": (
        ["Hello.", "Bye."],
        {
            "output_dimensionality": 2,
            "task_type": "RETRIEVAL_DOCUMENT",
            "title": "Words",
            "auto_truncate": False,
        },
    ),
    "embeddings-base64": (["Hello."], {}),
    "embeddings-of-contents": (["Hello.", "Bye."], {}),
    "embeddings-of-one-content": (["Hello."], {"output_dimensionality": 2, "task_type": "CLUSTERING"}),
}


def spelled(value: Any) -> Any:
    """The body with our spelling of keys, and the placeholder as text."""
    if isinstance(value, list):
        return [spelled(each) for each in value]
    if isinstance(value, dict):
        known = {"task_type", "token_count"}
        return {key if key in known else camel(key): spelled(each) for key, each in value.items()}
    return NO_SIGNATURE if value == b64encode(NO_SIGNATURE.encode()).decode() else value


def assert_sent_as_recorded(sent: Received, recorded: Recording) -> None:
    """The client sends the recorded request, which is also ours: see tests/catalogue/wire/test_recordings.py."""
    body = spelled(sent.json)
    body.get("systemInstruction", {}).pop("role", None)
    if not body.get("generationConfig", True):
        del body["generationConfig"]
    assert sent.path == recorded.request["path"]
    assert body == recorded.request["body"]
    assert sent.headers["authorization"] == "Bearer token-1"


@pytest.mark.parametrize("name", CHATS)
def test_googles_client_sends_the_recorded_chat_request(client: genai.Client, vendor: Vendor, name: str):
    recorded, (contents, options) = GOOGLE[name], CHATS[name]
    config = types.GenerateContentConfig(
        **options, automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    if recorded.openai_request.get("stream"):
        vendor.set_answers(Answer.stream(recorded.stream()))
        for _ in client.models.generate_content_stream(
            model=recorded.model, contents=contents, config=config
        ):
            pass
    else:
        vendor.set_answers(Answer.json(recorded.reply))
        client.models.generate_content(model=recorded.model, contents=contents, config=config)
    assert_sent_as_recorded(vendor.requests[-1], recorded)


@pytest.mark.parametrize("name", VECTORS)
def test_googles_client_sends_the_recorded_embeddings_request(
    client: genai.Client, vendor: Vendor, name: str
):
    recorded, (texts, options) = GOOGLE[name], VECTORS[name]
    vendor.set_answers(Answer.json(recorded.reply))
    read = client.models.embed_content(
        model=recorded.model, contents=texts, config=types.EmbedContentConfig(**options)
    )
    assert_sent_as_recorded(vendor.requests[-1], recorded)
    assert len(read.embeddings or ()) == len(texts)


@pytest.mark.parametrize(
    "name",
    [
        "gemini-3.5-flash",
        "models/gemini-3.5-flash",
        "google/gemini-3.5-flash",
        "publishers/google/models/gemini-3.5-flash",
    ],
)
def test_all_forms_of_a_model_name_give_the_same_path(name: str):
    at = "projects/my-project/locations/us-central1/publishers/google/models/gemini-3.5-flash"
    assert models.path(name, project="my-project", region="us-central1") == at


def test_models_as_a_service_embed_one_text_per_request():
    model = "publishers/intfloat/models/multilingual-e5-large-instruct-maas"
    assert embeddings.embed_request({"input": "Hello."}, model)[0] == embeddings.EMBED
    with pytest.raises(UnsupportedRequest, match="input"):
        embeddings.embed_request({"input": ["Hello.", "Bye."]}, model)


@pytest.mark.parametrize("recorded", GENERATED, ids=str)
def test_googles_client_reads_the_recorded_replies(recorded: Recording):
    answers = [recorded.reply] if recorded.answer else [event.data for event in recorded.events()]
    for answer in answers:
        types.GenerateContentResponse.model_validate(answer)
        assert json.dumps(answer)
