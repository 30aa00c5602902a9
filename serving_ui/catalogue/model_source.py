"""Where one's own model comes from, and which engine runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from serving_ui.catalogue.model_signature import Signature
from serving_ui.catalogue.tasks import Task

DEFAULT_CHUNK_SIZE = 100


class SourceKind(StrEnum):
    MLFLOW = "mlflow"
    """A model version of an MLflow registry; the location is `models:/name/version`."""
    LLAMA_CPP = "llama_cpp"
    """A language model in a GGUF file, run by llama.cpp; the location is a path or URL of the file."""
    VLLM = "vllm"
    """A language model run by vLLM; the location is a Hugging Face id, a path or a URL of an object store."""
    DEPLOYMENT = "deployment"
    """A deployment class of a team; the location is `module:Class`."""


@dataclass(frozen=True)
class ModelSource:
    """A registered model as an engine loads it.

    `task` is None for a model that answers any JSON, such as a pyfunc model of MLflow. `engine_arguments` are passed to the engine as
    they are. `packages` are requirements as pip reads them, which the model needs beside the engine. `tracking_uri` is the address of
    the MLflow registry. `throughput_chunk_size` is how many tokens per second one replica is expected to write. `signature` describes the
    queries of a model of MLflow, if it is known; sources that differ in nothing else are equal.
    """

    kind: SourceKind
    location: str
    task: Task | None = None
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    tracking_uri: str = ""
    throughput_chunk_size: int = DEFAULT_CHUNK_SIZE
    signature: Signature = field(default_factory=dict, compare=False)

    def stored(self) -> dict[str, Any]:
        """The JSON for the database."""
        return asdict(self)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> ModelSource:
        """Reads the JSON of `stored()`."""
        task = stored["task"]
        values = {"kind": SourceKind(stored["kind"]), "task": Task(task) if task else None}
        return cls(**{**stored, **values, "packages": tuple(stored["packages"])})
