"""Reads of model hosts, which only admins may see, and of foundation models, which everybody sees who may see their endpoints."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.lib.refusal import NotFound
from serving_ui.model_hosts.models import ModelHost


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


def _not_found(name: str) -> NotFound:
    return NotFound(_("There is no model host named %(name)s.") % {"name": name})
