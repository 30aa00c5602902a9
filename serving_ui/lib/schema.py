"""Detects that a newer version of this program has migrated the database: it then has migrations that this code does not have."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from django.apps import apps
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


class KnownMigrations:
    """The migrations in the code of this process, listed at its start, because an upgrade may replace the files while it runs."""

    def __init__(self) -> None:
        self._known = {
            (app.label, module.name)
            for app in apps.get_app_configs()
            for module in pkgutil.iter_modules([str(Path(app.path) / "migrations")])
        }

    def unknown_migrations_warning(self) -> str | None:
        """A sentence for operators if the database has unknown migrations, else None. Raises DatabaseError."""
        applied = MigrationRecorder(connection).applied_migrations()
        unknown = sorted(" ".join(key) for key in applied if key not in self._known)
        if not unknown:
            return None
        return (
            f"A newer version of Serving UI has migrated the database: this version lacks {', '.join(unknown)}. "
            "It keeps running as far as it can. Upgrade it, too."
        )
