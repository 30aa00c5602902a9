"""The settings of the whole workspace. Everybody may read them, an admin may change them."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Workspace
from serving_ui.lib.refusal import NotAllowed


def allow_several_external_models(*, allowed: bool, actor: User) -> Workspace:
    """Whether an endpoint may serve several external models. What is served already goes on either way."""
    if not actor.is_admin:
        raise NotAllowed(_("Only an admin changes the settings of the workspace. Ask an admin."))
    workspace = Workspace.here()
    workspace.several_external_models = allowed
    workspace.save(update_fields=["several_external_models"])
    return workspace
