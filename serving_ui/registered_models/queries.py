"""Reads of registered models: those of this server, then those of the MLflow registry."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from serving_ui.backends.mlflow_registry import (
    MLflowRegistry,
    MLflowVersion,
    RegistryUnavailable,
    authorization,
)
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.lib.egress import EgressPolicy
from serving_ui.lib.refusal import NotFound, Refusal
from serving_ui.registered_models.models import RegisteredModel


def source_of(entity_name: str, entity_version: str) -> ModelSource:
    """What an engine loads. A model that is registered here comes before one of MLflow. Raises NotFound, or Refusal with status 503."""
    row = RegisteredModel.objects.filter(name=entity_name, version=entity_version).first()
    if row is not None:
        return row.source
    found = mlflow_version(name=entity_name, version=entity_version)
    return ModelSource(
        SourceKind.MLFLOW,
        mlflow_location(entity_name, entity_version),
        tracking_uri=settings.MLFLOW_TRACKING_URI,
        signature=found.signature,
    )


def mlflow_location(name: str, version: str) -> str:
    """As MLflow writes the address of a version."""
    return f"models:/{name}/{version}"


def mlflow_version(*, name: str, version: str) -> MLflowVersion:
    """What the MLflow registry says of a version. Raises NotFound, or Refusal with status 503."""
    registry = mlflow()
    try:
        found = registry.version(name, version) if registry else None
    except RegistryUnavailable as problem:
        raise Refusal(str(problem), code="TEMPORARILY_UNAVAILABLE", status=503) from None
    if found is None:
        raise _not_found(name, version)
    return found


def all_versions() -> QuerySet[RegisteredModel]:
    """The versions that are registered here."""
    return RegisteredModel.objects.select_related("creator")


def get(*, name: str, version: str) -> RegisteredModel:
    """A version that is registered here. Raises NotFound."""
    row = all_versions().filter(name=name, version=version).first()
    if row is None:
        raise _not_found(name, version)
    return row


def mlflow() -> MLflowRegistry | None:
    """The MLflow registry, if an admin has set its address."""
    if not settings.MLFLOW_TRACKING_URI:
        return None
    listed = (*settings.EGRESS_LISTED, MLflowRegistry.host_of(settings.MLFLOW_TRACKING_URI))
    policy = EgressPolicy(listed=tuple(listed), loopback=settings.EGRESS_LOOPBACK)
    credentials = authorization(
        token=settings.MLFLOW_TRACKING_TOKEN,
        username=settings.MLFLOW_TRACKING_USERNAME,
        password=settings.MLFLOW_TRACKING_PASSWORD,
    )
    return MLflowRegistry(settings.MLFLOW_TRACKING_URI, authorization=credentials, policy=policy)


def _not_found(name: str, version: str) -> NotFound:
    return NotFound(
        _("There is no model %(name)s version %(version)s. Choose one under My models, or register it.")
        % {"name": name, "version": version}
    )
