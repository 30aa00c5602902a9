"""The differences between two configs, as labels of the form, and where the secrets of a config are sent."""

from __future__ import annotations

from collections.abc import Iterator

from serving_ui.catalogue.endpoint_config import ConfigSpec
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.own_model import OwnModel
from serving_ui.catalogue.served_entity import ServedEntity
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.catalogue.upstream import Addresses


def destinations(entity: ServedEntity, addresses: Addresses) -> frozenset[str]:
    """Where and how the secrets of a served entity are sent; see `Provider.destinations`."""
    if entity.own_model is None:
        model = entity.external
        return model.provider_entry.destinations(model.config, addresses)
    # A model can send its environment variables anywhere, so a secret in one is for this version of this model only.
    own = entity.own_model
    variables = (f"{name}={value}" for name, value in own.environment_vars.items() if isinstance(value, str))
    return frozenset({f"model={own.entity_name}", f"version={own.entity_version}", *variables})


def differences(old: ConfigSpec, new: ConfigSpec) -> list[TranslatableText]:
    """The labels of the changed fields, without duplicates, in the order of the form."""
    return list(dict.fromkeys(_differences(old, new)))


def _differences(old: ConfigSpec, new: ConfigSpec) -> Iterator[TranslatableText]:
    if len(old.served_entities) != len(new.served_entities):
        yield _("Served entities")
    else:
        for before, after in zip(old.served_entities, new.served_entities, strict=True):
            yield from _entity_differences(before, after)
    if _shares(old) != _shares(new):
        yield _("Traffic")


def _shares(config: ConfigSpec) -> list[int]:
    share = {route.served_entity_name: route.traffic_percentage for route in config.traffic_config.routes}
    return [share.get(entity.name, 0) for entity in config.served_entities]


def _entity_differences(old: ServedEntity, new: ServedEntity) -> Iterator[TranslatableText]:
    if old.own_model and new.own_model:
        yield from _own_differences(old.own_model, new.own_model)
    elif old.external_model and new.external_model:
        yield from _model_differences(old.external_model, new.external_model)
    if old.name != new.name:
        yield _("Served entity name")


def _own_differences(old: OwnModel, new: OwnModel) -> Iterator[TranslatableText]:
    for name, label in OWN_LABELS.items():
        if getattr(old, name) != getattr(new, name):
            yield label


OWN_LABELS: dict[str, TranslatableText] = {
    "entity_name": _("Model"),
    "entity_version": _("Version"),
    "workload_type": _("Compute type"),
    **dict.fromkeys(
        ("workload_size", "min_provisioned_concurrency", "max_provisioned_concurrency"),
        _("Compute scale-out"),
    ),
    **dict.fromkeys(("min_provisioned_throughput", "max_provisioned_throughput"), _("Throughput")),
    **dict.fromkeys(("provisioned_model_units", "burst_scaling_enabled"), _("Model units")),
    "scale_to_zero_enabled": _("Scale to zero"),
    "environment_vars": _("Environment variables"),
}
"""The labels of the form by field of the API."""


def _model_differences(old: ExternalModel, new: ExternalModel) -> Iterator[TranslatableText]:
    if old.provider != new.provider:
        yield _("Provider")
    if old.name != new.name:
        yield _("External model name")
    if old.task != new.task:
        yield _("Task")
    if old.provider == new.provider:
        before, after = old.config.flat(), new.config.flat()
        for field in new.config.fields():
            if before.get(field.name) != after.get(field.name):
                yield field.label
