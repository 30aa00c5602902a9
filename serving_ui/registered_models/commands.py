"""Register and delete versions of models. Only admins may: a registered model runs code on the cluster."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.catalogue.own_model import MAX_VERSION_LENGTH
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.lib.changes import report_change
from serving_ui.lib.refusal import AlreadyExists
from serving_ui.registered_models import queries
from serving_ui.registered_models.models import RegisteredModel


def register(*, new: NewModelVersion, actor: User, now: datetime) -> RegisteredModel:
    """Raises NotAllowed and AlreadyExists."""
    need_admin(actor)
    values = new.model_dump(mode="json", exclude={"version", "task"})
    version = new.version or _next_version(new.name)
    try:
        with transaction.atomic():
            made = RegisteredModel.objects.create(
                **values, version=version, task=new.task or "", creator=actor, created_at=now
            )
    except IntegrityError:
        if not RegisteredModel.objects.filter(name=new.name, version=version).exists():
            raise
        raise AlreadyExists(
            _("%(name)s has a version %(version)s already. A version never changes; register another one.")
            % {"name": new.name, "version": version}
        ) from None
    report_change(
        "register_model",
        kind="model",
        id=str(made.pk),
        name=str(made),
        actor=actor,
        before=None,
        after=values,
    )
    return made


def delete(*, name: str, version: str, actor: User) -> None:
    """Endpoints that serve it go on; it cannot be deployed again. Raises NotAllowed and NotFound."""
    need_admin(actor)
    row = queries.get(name=name, version=version)
    before = {"name": name, "version": version, "kind": row.kind, "location": row.location}
    report_change(
        "delete_model", kind="model", id=str(row.pk), name=str(row), actor=actor, before=before, after=None
    )
    row.delete()


def _next_version(name: str) -> str:
    versions = RegisteredModel.objects.filter(name=name).values_list("version", flat=True)
    numbers = [
        int(each)
        for each in versions
        if each.isascii() and each.isdigit() and len(each) < MAX_VERSION_LENGTH  # so that one more fits, too
    ]
    return str(max(numbers, default=0) + 1)
