"""`manage.py migrate`: Django's, one at a time; others on the same data folder or database wait."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from serving_ui.management import prepare


class Command(migrate.Command):
    """Without the system checks, as in `up`: of a database that cannot be written they say that it knows no JSON."""

    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        with prepare.alone():
            super().handle(*args, **options)
