"""Whether a newer version of this program has prepared the database: then it has migrations that this code does not know."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from django.apps import apps
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


class KnownMigrations:
    """The migrations that this process knows, as of its start: its files may be replaced while it runs."""

    def __init__(self) -> None:
        self._known = {
            (app.label, module.name)
            for app in apps.get_app_configs()
            for module in pkgutil.iter_modules([str(Path(app.path) / "migrations")])
        }

    def concern(self) -> str | None:
        """A sentence for whoever runs this, if the database is newer. Raises DatabaseError."""
        applied = MigrationRecorder(connection).applied_migrations()
        unknown = sorted(" ".join(key) for key in applied if key not in self._known)
        if not unknown:
            return None
        return (
            f"A newer version of Serving UI has prepared the database: this one does not know {', '.join(unknown)}. "
            "It goes on as far as it can. Upgrade it here, too."
        )
