"""The body that registers a version of a model of one's own."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serving_ui.catalogue.api_model import RequestBody
from serving_ui.catalogue.model_source import DEFAULT_CHUNK_SIZE
from serving_ui.catalogue.own_model import MAX_MODEL_NAME_LENGTH, MAX_VERSION_LENGTH
from serving_ui.catalogue.problems import Problem, as_validation_error, field_error
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _, has_control_characters
from serving_ui.lib import json_text

MAX_LOCATION_LENGTH = 1024
MAX_ARGUMENTS_BYTES = 16 * 1024
MAX_PACKAGES = 50
_WRITTEN_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; after an escaped backslash it is plain text
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def _valid_name(value: str) -> str:
    if not _NAME.fullmatch(value.strip()):
        raise field_error(
            _("Use letters, digits, dots, hyphens and underscores, and begin with a letter or digit.")
        )
    return value.strip()


def _single_line(value: str) -> str:
    if not value.strip() or has_control_characters(value):
        raise field_error(_("Give one line of text."))
    return value.strip()


def _small(value: dict[str, Any]) -> dict[str, Any]:
    written = json_text.write(value)
    if _WRITTEN_NUL.search(written):  # the database cannot store it
        raise field_error(_("Engine arguments cannot contain the character NUL. Remove it."))
    if len(written) > MAX_ARGUMENTS_BYTES:
        raise field_error(_("Engine arguments can have at most 16 kB."))
    return value


class NewModelVersion(RequestBody):
    """A language model that llama.cpp or vLLM loads, or a deployment class."""

    name: Annotated[
        str, Field(max_length=MAX_MODEL_NAME_LENGTH, description="Its name."), AfterValidator(_valid_name)
    ]
    version: Annotated[
        str,
        Field(max_length=MAX_VERSION_LENGTH, description="The default is the next number."),
        AfterValidator(_valid_name),
    ] = ""
    kind: Annotated[
        Literal["llama_cpp", "vllm", "deployment"],
        Field(
            description="Which engine runs it. llama_cpp: a GGUF file, on CPUs. vllm: a model of Hugging Face, a path or an object store, on GPUs. deployment: a class of your own."
        ),
    ]
    location: Annotated[
        str,
        Field(
            max_length=MAX_LOCATION_LENGTH,
            description="What the engine loads: a path or URL of a GGUF file, a Hugging Face id, a path, a URL of an object store, or module:Class.",
        ),
        AfterValidator(_single_line),
    ]
    task: Annotated[
        Task | None,
        Field(description="Required for llama_cpp and vllm. Without it a deployment class answers any JSON."),
    ] = None
    engine_arguments: Annotated[
        dict[str, Any], Field(description="Passed to the engine as they are."), AfterValidator(_small)
    ] = Field(default_factory=dict)
    packages: Annotated[
        list[Annotated[str, Field(max_length=256), AfterValidator(_single_line)]],
        Field(
            max_length=MAX_PACKAGES, description="Requirements as pip reads them, installed on the cluster."
        ),
    ] = Field(default_factory=list)
    throughput_chunk_size: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=1_000_000,
            description="Tokens per second that one replica is expected to write.",
        ),
    ] = DEFAULT_CHUNK_SIZE
    description: Annotated[str, Field(max_length=2000, description="Free text.")] = ""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        problems = []
        if self.kind != "deployment" and self.task is None:
            message = _("A language model has a task. Choose one and try again.")
            problems.append(Problem(("task",), message, "required"))
        if self.kind == "deployment" and not _CLASS.fullmatch(self.location):
            message = _("A deployment class is given as module:Class, such as my_team.models:Iris.")
            problems.append(Problem(("location",), message))
        if problems:
            raise as_validation_error(problems)
        return self
