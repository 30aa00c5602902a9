"""The settings of the whole workspace. Everybody may read them, an admin may change them."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Workspace
from serving_ui.lib.changes import report_change
from serving_ui.lib.refusal import NotAllowed


def allow_several_external_models(*, allowed: bool, actor: User) -> Workspace:
    """Whether an endpoint may serve several external models. What is served already goes on either way."""
    if not actor.is_admin:
        raise NotAllowed(_("Only an admin changes the settings of the workspace. Ask an admin."))
    with transaction.atomic():
        workspace = Workspace.objects.select_for_update().get(pk=Workspace.here().pk)
        before = {"several_external_models": workspace.several_external_models}
        workspace.several_external_models = allowed
        workspace.save(update_fields=["several_external_models"])
        report_change(
            "allow_several_external_models",
            kind="workspace",
            id=workspace.pk,
            name=workspace.name,
            actor=actor,
            before=before,
            after={"several_external_models": allowed},
        )
    return workspace
