"""`manage.py migrate`: Django's command, holding a lock of the data folder and the database, so that a second one waits."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from serving_ui.management import prepare


class Command(migrate.Command):
    """Without the system checks, as in `up`: for a SQLite file that cannot be written they report missing JSON support."""

    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        with prepare.exclusive_lock():
            super().handle(*args, **options)
