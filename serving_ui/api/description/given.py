"""Bodies that no view of ours reads: what is refused whole, and what the gateway hands on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from serving_ui.api.description.shapes import sometimes


class Provisioned(BaseModel):
    config: dict[str, Any] = sometimes()


class NamedProvisioned(Provisioned):
    name: str = sometimes()


class Empty(BaseModel):
    """Nothing needs to be said."""


class ChatMessage(BaseModel):
    role: str = Field(examples=["user"])
    content: Any = sometimes()


class Question(BaseModel):
    """In the shape of the OpenAI API; every field goes to the provider."""

    messages: list[ChatMessage] = sometimes("Task llm/v1/chat.")
    prompt: Any = sometimes("Task llm/v1/completions.")
    input: Any = sometimes("Task llm/v1/embeddings.")
    stream: bool = sometimes("Answer with server-sent events that end with data: [DONE].")


class NamedQuestion(Question):
    model: str = Field(description="Name of the endpoint.")
