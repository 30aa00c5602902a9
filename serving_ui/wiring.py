"""Joins the floors: a change of accounts or vault, which know nothing of gateways, raises the snapshot's revision.

Decides nothing.
"""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

FOLLOWED = ("accounts.AccessToken", "accounts.Group", "accounts.User", "vault.Scope", "vault.StoredSecret")


class ServingUI(AppConfig):
    """The product as a Django app: it has the commands and the wiring."""

    name = "serving_ui"
    label = "serving_ui"
    default = True

    def ready(self) -> None:
        for module in ("celery", "checks"):
            import_module(f"serving_ui.{module}")
        publication = import_module("serving_ui.endpoints.publication")

        def changed(instance: Model, **_signal: object) -> None:
            # A value pasted into a config is not served before the config is. To raise the revision for it would lock
            # that row before the endpoint's, all others lock it after: PostgreSQL ends one of the two as a deadlock.
            if getattr(instance, "scope_id", True):
                publication.bump()

        for name in FOLLOWED:
            model = apps.get_model(name)
            for signal in (post_save, post_delete):
                signal.connect(
                    changed, sender=model, weak=False, dispatch_uid=f"revision-{name}-{id(signal)}"
                )
