"""Own models of a config version: which application of the cluster runs each, and how long their deployment may take.

A served entity that is the same as in the active version keeps its application, so that a change of traffic or of another entity
deploys nothing again. Every other one gets an application of its own, beside the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from secrets import token_hex
from typing import Any

from django.conf import settings

from serving_ui.backends.ray_serve.application import (
    LOADING_SHUTDOWN_SECONDS,
    PREFIX,
    SERVING_SHUTDOWN_SECONDS,
    Application,
)
from serving_ui.catalogue.compute import compute_of
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.served_entity import Kind, ServedEntity
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints.models import ConfigVersion, Endpoint

GPU_FACTOR = 2
ROUTE_PREFIX = "/serving-ui"


def plan(
    endpoint: Endpoint, config: ConfigSpec, sources: Sequence[ModelSource], *, number: int
) -> dict[str, Any]:
    """The value of `ConfigVersion.deployments` for the version of this number; empty for other kinds of models."""
    if config.kind is not Kind.OWN_MODEL:
        return {}
    return {
        entity.name: _running_part(endpoint, entity, source)
        or {
            "application": f"{PREFIX}{endpoint.pk}-{number}-{index}",
            # Whoever knows the address can query the model past the gateway, so it cannot be guessed and is never shown.
            "route": f"{ROUTE_PREFIX}/{token_hex(16)}",
            "source": source.stored(),
        }
        for index, (entity, source) in enumerate(zip(config.served_entities, sources, strict=True))
    }


def _running_part(endpoint: Endpoint, entity: ServedEntity, source: ModelSource) -> dict[str, Any] | None:
    """What runs the same entity in the active version, unless that is stopped."""
    active = None if endpoint.is_stopped else endpoint.active
    for earlier in active.config.served_entities if active else ():
        planned: dict[str, Any] = active.deployments[earlier.name] if active else {}
        if earlier.own == entity.own and ModelSource.load(planned["source"]) == source:
            return {**planned, "source": source.stored()} if source.signature else planned
    return None


def source_of(version: ConfigVersion | None, entity: str = "") -> ModelSource | None:
    """What a served entity was loaded from, or the first one; None for other kinds of models."""
    if version is None or not version.deployments:
        return None
    name = entity or version.config.served_entities[0].name
    return ModelSource.load(version.deployments[name]["source"])


def applications(version: ConfigVersion, config: ConfigSpec) -> dict[str, Application]:
    """The applications of a version, by name of the served entity. `config` is the version's with secrets as plaintext."""
    is_serving = version.outcome == ConfigVersion.Outcome.ACTIVE or version.published_revision is not None
    found = {}
    for entity in config.served_entities:
        planned = version.deployments[entity.name]
        source = ModelSource.load(planned["source"])
        found[entity.name] = Application(
            name=planned["application"],
            route_prefix=planned["route"],
            source=source,
            compute=compute_of(entity.own, throughput_chunk_size=source.throughput_chunk_size),
            environment={
                variable: value.reveal() if isinstance(value, Secret) else value
                for variable, value in entity.own.environment_vars.items()
            },
            graceful_shutdown_seconds=SERVING_SHUTDOWN_SECONDS if is_serving else LOADING_SHUTDOWN_SECONDS,
        )
    return found


def time_limit(deployments: Mapping[str, Any], spec: Mapping[str, Any]) -> timedelta:
    """How long the deployment of a version may take, from its stored parts: longer on GPUs, whose nodes start and whose models load
    slowly. Reads no config, because an update whose config cannot be read has a deadline, too."""
    if not deployments:
        return timedelta(seconds=settings.CHECK_DEADLINE_SECONDS)
    has_gpu = any("GPU" in entity["workload_type"] for entity in spec["served_entities"])
    return timedelta(seconds=settings.DEPLOY_DEADLINE_SECONDS * (GPU_FACTOR if has_gpu else 1))
