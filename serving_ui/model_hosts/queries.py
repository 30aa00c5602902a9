"""Reads of model hosts, which only admins may see, and of foundation models, which everybody sees who may see their endpoints."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints import queries as endpoints
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib.refusal import NotFound
from serving_ui.model_hosts.models import FoundationModel, ModelHost


def list_hosts(*, actor: User) -> QuerySet[ModelHost]:
    """All hosts by name, each with `number_of_models`. Raises NotAllowed."""
    need_admin(actor)
    here = Count("models", filter=Q(models__gone_since=None))
    return ModelHost.objects.annotate(models_here=here).select_related("creator").order_by("name")


def get_host(*, name: str, actor: User) -> ModelHost:
    """Raises NotAllowed and NotFound."""
    found = list_hosts(actor=actor).filter(name=name).first()
    if found is None:
        raise _not_found(name)
    return found


def locked_host(*, name: str, actor: User) -> ModelHost:
    """The host, whose row stays locked until the transaction ends. Raises NotAllowed and NotFound."""
    need_admin(actor)
    found = ModelHost.objects.select_for_update().filter(name=name).first()
    if found is None:
        raise _not_found(name)
    return found


def visible_models(*, actor: User, search: str = "") -> QuerySet[FoundationModel]:
    """The foundation models whose endpoints the user may see, by name, with host and endpoint, without the endpoints' configs."""
    found = FoundationModel.objects.select_related("host", "endpoint")
    if not actor.is_admin:
        found = found.filter(endpoint__in=endpoints.visible(actor=actor).values("pk"))
    if search:
        matches = (
            Q(display_name__icontains=search)
            | Q(endpoint__name__icontains=search)
            | Q(host__name__icontains=search)
        )
        found = found.filter(matches)
    return found.order_by("display_name", "id")


def model_of(*, endpoint: Endpoint) -> FoundationModel | None:
    """The foundation model of an endpoint, with its host. No query for other endpoints."""
    if endpoint.kind != Kind.FOUNDATION_MODEL:
        return None
    return FoundationModel.objects.select_related("host").filter(endpoint=endpoint).first()


def _not_found(name: str) -> NotFound:
    return NotFound(_("There is no model host named %(name)s.") % {"name": name})
