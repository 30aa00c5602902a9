"""The models that a form suggests: those that are registered here, then those of the MLflow registry.

What the registry answers is remembered for SECONDS in this process, also that it does not answer: a form is drawn again at each change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from django.core.cache import cache

from serving_ui.backends.mlflow_registry import MLflowRegistry, RegistryUnavailable
from serving_ui.catalogue.model_source import DEFAULT_CHUNK_SIZE
from serving_ui.catalogue.tasks import Task
from serving_ui.registered_models import queries
from serving_ui.registered_models.models import RegisteredModel

SECONDS = 20
MAX_NAMES = 200
MAX_VERSIONS = 50


@dataclass(frozen=True)
class Versions:
    """The versions of a model, the newest first. `task` and `chunk_size` are those of the newest one that is registered here."""

    names: tuple[str, ...]
    task: Task | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE


def names() -> tuple[str, ...]:
    """The names of all models, at most MAX_NAMES of each place, without those of a registry that does not answer."""
    rows = RegisteredModel.objects.order_by("name").values_list("name", flat=True).distinct()[:MAX_NAMES]
    elsewhere = _of_registry("names", lambda registry: registry.model_names(limit=MAX_NAMES))
    return tuple(dict.fromkeys((*rows, *elsewhere)))


def names_here(*, limit: int) -> tuple[str, ...]:
    """The names of the models that are registered here."""
    rows = RegisteredModel.objects.order_by("name").values_list("name", flat=True).distinct()
    return tuple(rows[:limit])


def versions(name: str) -> Versions:
    """What is known of a model. Without any version if there is no such model, or the registry does not answer."""
    rows = list(RegisteredModel.objects.filter(name=name).order_by("-created_at", "-pk")[:MAX_VERSIONS])
    elsewhere = (
        _of_registry(f"versions:{name}", lambda each: each.versions(name, limit=MAX_VERSIONS)) if name else []
    )
    all_names = tuple(dict.fromkeys((*(row.version for row in rows), *elsewhere)))
    if not rows:
        return Versions(all_names)
    return Versions(all_names, rows[0].source.task, rows[0].throughput_chunk_size)


def _of_registry(key: str, read: Callable[[MLflowRegistry], list[str]]) -> list[str]:
    registry = queries.mlflow()
    if registry is None:
        return []

    def found() -> list[str]:
        try:
            return read(registry)
        except RegistryUnavailable:
            return []

    digest = sha256(key.encode()).hexdigest()
    return cache.get_or_set(f"mlflow-registry:{digest}", found, SECONDS) or []
