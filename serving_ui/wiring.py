"""Connects packages that do not know each other: a saved row of `accounts` or `vault` that gateways follow raises the revision,
and built-in rows are created with the tables.

Models and what imports them are imported inside functions: Django loads this module before any model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.db.models.signals import post_delete, post_migrate, post_save


def _secret_subject(secret: Any) -> str | None:
    """`scope/key`; None if the whole scope was deleted, which is a change of its own."""
    try:
        return f"{secret.scope.name}/{secret.key}"
    except ObjectDoesNotExist:
        return None


def _scope_subject(grant: Any) -> str | None:
    """`scope/`, all secrets of the grant's scope; None if the whole scope was deleted."""
    try:
        return f"{grant.scope.name}/"
    except ObjectDoesNotExist:
        return None


# The models that gateways follow, with the `changes.Subject` of a change and the function that returns its `subject`.
FOLLOWED: dict[str, tuple[str, Callable[..., str | None]]] = {
    "accounts.AccessToken": ("token", lambda token: token.digest),
    "accounts.Group": ("group", lambda group: group.pk),
    "accounts.User": ("principal", lambda user: user.pk),
    "vault.Scope": ("secret", lambda scope: f"{scope.name}/"),
    "vault.ScopeGrant": ("secret", _scope_subject),
    "vault.StoredSecret": ("secret", _secret_subject),
}
BUILT_IN = ("accounts.Group", "endpoints.Workspace", "revisions.Revision")
NOT_FOLLOWED = (
    frozenset({"last_login"}),
    frozenset({"comment"}),
)  # `update_fields` of saves that gateways ignore
# Saving one of these may change who may read a secret. Of the other models only a deletion can make a secret unusable.
CHANGES_RIGHTS = ("accounts.Group", "accounts.User", "vault.ScopeGrant")


class ServingUI(AppConfig):
    """The product as a Django app: management commands and the connections of this module."""

    name = "serving_ui"
    label = "serving_ui"
    default = True

    def ready(self) -> None:
        from serving_ui import celery, checks  # noqa: F401 -- registers the Celery app and the system checks

        post_save.connect(
            _freeze_or_release_values,
            sender=apps.get_model("accounts.User"),
            dispatch_uid="values-of-the-deactivated",
        )  # before the revision is raised: see `bindings.freeze_or_release_values`
        for name, (kind, subject) in FOLLOWED.items():
            model = apps.get_model(name)
            receiver = _make_receiver(kind, subject, changes_rights=name in CHANGES_RIGHTS)
            for signal in (post_save, post_delete):
                signal.connect(
                    receiver, sender=model, weak=False, dispatch_uid=f"revision-{name}-{id(signal)}"
                )
        post_migrate.connect(create_built_in, sender=apps.get_app_config("endpoints"))


def create_built_in(apps: Apps = apps, **_signal: object) -> None:
    """Creates the built-in groups and this server's workspace. `apps` holds the models of the migrations that just ran."""
    from serving_ui.accounts.models import ADMINS, EVERYONE
    from serving_ui.endpoints.models import HERE
    from serving_ui.revisions.changes import bump_revision

    try:
        groups, workspaces, revisions = (apps.get_model(name) for name in BUILT_IN)
    except LookupError:  # only earlier migrations were applied
        return
    created = [groups.objects.get_or_create(name=name)[1] for name in (EVERYONE, ADMINS)]
    workspaces.objects.get_or_create(name=HERE)
    if any(created) and revisions.objects.exists():  # gateways follow already; these saves sent no signal
        bump_revision()


def _freeze_or_release_values(
    instance: Any, created: bool, update_fields: frozenset[str] | None = None, **_signal: object
) -> None:
    from serving_ui.endpoints import bindings

    if not created and (update_fields is None or "is_active" in update_fields):
        bindings.freeze_or_release_values(user=instance)


def _make_receiver(
    kind: str, subject: Callable[..., str | None], *, changes_rights: bool
) -> Callable[..., None]:
    from serving_ui.endpoints import celery_messages
    from serving_ui.revisions.changes import Subject, bump_revision

    def receive(instance: Model, update_fields: frozenset[str] | None = None, **signal: object) -> None:
        # A stored secret without a scope (`scope_id` None) was pasted into a config and is followed with that config. Raising
        # the revision for it would lock the revision's row before the endpoint's. All other code locks the endpoint's row
        # first, so PostgreSQL would abort one of the two transactions as a deadlock.
        if not getattr(instance, "scope_id", True) or update_fields in NOT_FOLLOWED:
            return
        if (changed := subject(instance)) is not None:
            bump_revision(Subject(kind), changed)
            if kind != "token" and (changes_rights or "created" not in signal):
                celery_messages.sweep_on_commit()

    return receive
