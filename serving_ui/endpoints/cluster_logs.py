"""Logs of own models, read from the cluster when somebody asks: nothing of them is stored here."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from serving_ui.backends.ray_serve.application import Application
from serving_ui.backends.ray_serve.client import RayServe, RayUnavailable
from serving_ui.endpoints import cluster, own_models
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.resolution import Unresolved, resolve
from serving_ui.lib.refusal import Refusal


def service_logs(endpoint: Endpoint, entity: str) -> str:
    """What the replica that started last has written, without the values of environment variables. Raises Refusal with status 503."""
    return _read(endpoint, entity, RayServe.logs)


def build_logs(endpoint: Endpoint, entity: str) -> str:
    """What Ray has written when it prepared the application, likewise."""
    return _read(endpoint, entity, RayServe.build_logs)


def _read(endpoint: Endpoint, entity: str, read: Callable[[RayServe, Application], str]) -> str:
    """Of the pending version while an update runs, else of the newest one that has the entity: also of one that failed."""
    versions = (endpoint.pending, endpoint.latest, endpoint.active)
    version = next((each for each in versions if each and entity in each.deployments), None)
    if version is None or not cluster.is_configured():
        return ""
    try:
        application = own_models.applications(version, resolve(version))[entity]
        return read(cluster.connect(), application)
    except Unresolved as reason:
        raise Refusal(str(reason), code="TEMPORARILY_UNAVAILABLE", status=503) from None
    except RayUnavailable as reason:
        message = _("The logs cannot be read. %(reason)s") % {"reason": reason}
        raise Refusal(message, code="TEMPORARILY_UNAVAILABLE", status=503) from None
