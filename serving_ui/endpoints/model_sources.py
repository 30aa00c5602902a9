"""Finds what the own models of a config are loaded from, and checks what depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving_ui.accounts.models import User
from serving_ui.catalogue.environment import decides_code
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.own_model import OwnModel
from serving_ui.catalogue.problems import Problem
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.endpoints import cluster
from serving_ui.endpoints.models import ConfigVersion
from serving_ui.lib.refusal import Refusal
from serving_ui.registered_models import queries as registered_models

_NO_BACKEND = _(
    "This server runs no models of your own: it has no Ray Serve. Give an external_model, or ask an admin to connect Ray Serve."
)
_FOR_ADMINS = _(
    "Only an admin can set %(name)s, because it decides which code runs on the cluster or where it comes from. Leave it out, or ask an admin."
)
_OTHER_TASK = _("All models of an endpoint have the same task. Choose a model of the same kind.")


def find_sources(config: ConfigSpec) -> tuple[list[ModelSource], list[Problem]]:
    """What the own models of the config are loaded from, in the order of the served entities, unless there are problems."""
    if config.kind is not Kind.OWN_MODEL:
        return [], []
    if not cluster.is_configured():
        return [], [Problem(("served_entities", 0, "entity_name"), _NO_BACKEND, "not_offered")]
    sources: list[ModelSource] = []
    problems: list[Problem] = []
    for position, entity in enumerate(config.served_entities):
        path = ("served_entities", position)
        try:
            source = registered_models.source_of(entity.own.entity_name, entity.own.entity_version)
        except Refusal as refusal:
            problems.append(Problem((*path, "entity_name"), TranslatableText(str(refusal)), "model"))
            continue
        problems += (problem.under(*path) for problem in _throughput_problems(entity.own, source))
        if sources and source.task != sources[0].task:
            problems.append(Problem((*path, "entity_name"), _OTHER_TASK, "task"))
        sources.append(source)
    return ([] if problems else sources), problems


def variable_problems(
    config: ConfigSpec, *, earlier: Sequence[ConfigVersion], actor: User
) -> Iterator[Problem]:
    """The environment variables that this person may not set. Those that an earlier version of the endpoint has may stay."""
    if actor.is_admin:
        return
    entities = (entity for version in earlier for entity in version.config.served_entities)
    known = [entity.own_model.environment_vars for entity in entities if entity.own_model]
    for position, entity in enumerate(config.served_entities):
        for name, value in (entity.own_model.environment_vars if entity.own_model else {}).items():
            if decides_code(name) and not any(name in each and each[name] == value for each in known):
                path = ("served_entities", position, "environment_vars", name)
                yield Problem(path, _FOR_ADMINS.fill(name=name), "environment")


def _throughput_problems(model: OwnModel, source: ModelSource) -> Iterator[Problem]:
    for name in ("min_provisioned_throughput", "max_provisioned_throughput"):
        amount = getattr(model, name)
        if amount is not None and source.task is None:
            message = _("Only a language model is sized by tokens per second. Give workload_size.")
            yield Problem((name,), message, "not_applicable")
        elif amount is not None and amount % source.throughput_chunk_size:
            message = _(
                "Give a multiple of %(chunk)s tokens per second, which one replica of this model reaches."
            )
            yield Problem((name,), message.fill(chunk=source.throughput_chunk_size))
