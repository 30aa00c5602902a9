"""Joins the floors: a change of accounts or vault, which know nothing of gateways, raises the snapshot's revision; and the
rows that must always be there are made with the tables, so that no reading has to make one.

Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.db.models.signals import post_delete, post_migrate, post_save


def _address(secret: Any) -> str | None:
    """`scope/key`; nothing when the whole scope was deleted, which is a change of its own."""
    try:
        return f"{secret.scope.name}/{secret.key}"
    except ObjectDoesNotExist:
        return None


def _scope(grant: Any) -> str | None:
    """All of its scope's secrets; nothing when the whole scope was deleted."""
    try:
        return f"{grant.scope.name}/"
    except ObjectDoesNotExist:
        return None


# What gateways follow, the kind of change that it is for them, and what it is about.
FOLLOWED: dict[str, tuple[str, Callable[..., str | None]]] = {
    "accounts.AccessToken": ("token", lambda token: token.digest),
    "accounts.Group": ("group", lambda group: group.pk),
    "accounts.User": ("principal", lambda user: user.pk),
    "vault.Scope": ("secret", lambda scope: f"{scope.name}/"),
    "vault.ScopeGrant": ("secret", _scope),
    "vault.StoredSecret": ("secret", _address),
}
BUILT_IN = ("accounts.Group", "endpoints.Workspace", "endpoints.Revision")
OF_NO_CONCERN = (
    frozenset({"last_login"}),
    frozenset({"comment"}),
)  # what may be saved alone without a gateway's knowing
# Where a save may change who may read a secret; where it cannot, only a deletion ends the use of one.
RIGHTS = ("accounts.Group", "accounts.User", "vault.ScopeGrant")


class ServingUI(AppConfig):
    """The product as a Django app: it has the commands and the wiring."""

    name = "serving_ui"
    label = "serving_ui"
    default = True

    def ready(self) -> None:
        for module in ("celery", "checks"):
            import_module(f"serving_ui.{module}")
        post_save.connect(
            _follow_activity, sender=apps.get_model("accounts.User"), dispatch_uid="values-of-the-deactivated"
        )  # before the revision is raised: see bindings
        for name, (kind, subject) in FOLLOWED.items():
            model, changed = apps.get_model(name), _announcer(kind, subject, changes_rights=name in RIGHTS)
            for signal in (post_save, post_delete):
                signal.connect(
                    changed, sender=model, weak=False, dispatch_uid=f"revision-{name}-{id(signal)}"
                )
        post_migrate.connect(make_built_in, sender=apps.get_app_config("endpoints"))


def make_built_in(apps: Apps = apps, **_signal: object) -> None:
    """The built-in groups and this server's workspace. `apps` has the models as they are after the migrations just run."""
    try:
        groups, workspaces, revisions = (apps.get_model(name) for name in BUILT_IN)
    except LookupError:  # it was not migrated that far
        return
    accounts, endpoints = (import_module(f"serving_ui.{name}.models") for name in ("accounts", "endpoints"))
    made = [groups.objects.get_or_create(name=name)[1] for name in (accounts.EVERYONE, accounts.ADMINS)]
    workspaces.objects.get_or_create(name=endpoints.HERE)
    if any(made) and revisions.objects.exists():  # gateways follow already, and nobody has told them of these
        import_module("serving_ui.endpoints.publication").bump()


def _follow_activity(
    instance: Any, created: bool, update_fields: frozenset[str] | None = None, **_signal: object
) -> None:
    if not created and (update_fields is None or "is_active" in update_fields):
        import_module("serving_ui.endpoints.bindings").follow_activity(user=instance)


def _announcer(kind: str, subject: Callable[..., str | None], *, changes_rights: bool) -> Callable[..., None]:
    nudge, publication = (import_module(f"serving_ui.endpoints.{name}") for name in ("nudge", "publication"))

    def changed(instance: Model, update_fields: frozenset[str] | None = None, **signal: object) -> None:
        # A value pasted into a config is not served before the config is. To raise the revision for it would lock
        # that row before the endpoint's, all others lock it after: PostgreSQL ends one of the two as a deadlock.
        if not getattr(instance, "scope_id", True) or update_fields in OF_NO_CONCERN:
            return
        if (about := subject(instance)) is not None:
            publication.bump(publication.Subject(kind), about)
            if kind != "token" and (changes_rights or "created" not in signal):
                nudge.sweep()

    return changed
