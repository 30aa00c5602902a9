"""Checks that the previous version works with the newest tables: `python -m tests.support.upgrade_check '{"app": "migration"}'` on an empty database.

Stops before each migration that comes after those of the argument and finds out which rows the models of that state can store. Then applies all
migrations and checks that the same rows can still be stored; prints a line for each that cannot. A row has values in its required
fields only, or also in one optional foreign key, because constraints may require one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import django
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor

# The check begins after these migrations. Move them forward when a column is removed from the tables, one version after the code
# has stopped using it.
CHECKED_AFTER: dict[str, str | None] = {
    "accounts": "0002_groups_and_service_principals",
    "api": "0001_initial",
    "endpoints": "0006_timeouts_and_shares",
    "revisions": None,  # its first migration came later
    "usage": "0001_initial",
    "vault": "0002_scope_grants",
    "registered_models": None,
    "model_hosts": None,
}
_SAMPLE_VALUES: dict[type[models.Field[Any, Any]], object] = {
    models.DateTimeField: datetime(2026, 1, 1, tzinfo=UTC),
    models.JSONField: {},
    models.BooleanField: False,
    models.FloatField: 1.0,
    models.IntegerField: 1,
    models.BinaryField: b"x",
    models.CharField: "x",
    models.TextField: "x",
}


def _value(field: Any) -> object:
    if field.remote_field:
        return _row(field.related_model)
    if field.choices:
        return field.choices[0][0]
    return next(value for kind, value in _SAMPLE_VALUES.items() if isinstance(field, kind))


def _row(model: Any, foreign_key: str = "") -> Any:
    """A stored row with values in all required fields, and in the optional foreign key named, if any."""
    values = {}
    for field in model._meta.concrete_fields:
        is_needed = not (field.null or field.has_default() or field.blank or field.has_db_default())
        if field.name == foreign_key or (is_needed and not isinstance(field, models.AutoField)):
            values[field.name] = _value(field)
    return model._base_manager.create(**values)


def _use(model: Any, foreign_key: str) -> None:
    """Stores a row, reads it, changes it and deletes it. Raises DatabaseError; nothing stays."""
    with transaction.atomic():
        row = model._base_manager.get(pk=_row(model, foreign_key).pk)
        row.save()
        connection.check_constraints()
        model._base_manager.filter(pk=row.pk).delete()
        transaction.set_rollback(True)


def _variants(model: Any) -> list[str]:
    return ["", *(field.name for field in model._meta.concrete_fields if field.remote_field and field.null)]


def _usable(model: Any) -> Iterator[str]:
    for foreign_key in _variants(model):
        try:
            _use(model, foreign_key)
        except DatabaseError:
            continue
        yield foreign_key


def main(since: dict[str, str | None]) -> None:
    found = []
    executor = MigrationExecutor(connection)
    others = [node for node in executor.loader.graph.leaf_nodes() if node[0] not in since]
    executor.migrate([*since.items(), *others])
    executor = MigrationExecutor(connection)
    before = []
    for migration, _backwards in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        done = [node for node in executor.loader.applied_migrations if node in executor.loader.graph.nodes]
        apps = executor.loader.project_state(done).apps
        for model in apps.get_models(include_auto_created=True):
            if model._meta.app_label in since:
                usable = list(_usable(model))
                if not usable:
                    found.append(
                        f"No row of {model._meta.label} can be made before {migration}: add a sample value for its fields."
                    )
                before += [(migration, model, foreign_key) for foreign_key in usable]
        executor.migrate([(migration.app_label, migration.name)])
        executor = MigrationExecutor(connection)
    for migration, model, foreign_key in before:
        try:
            _use(model, foreign_key)
        except DatabaseError as error:
            found.append(
                f"The code before {migration} cannot store a {model._meta.label}: {str(error).splitlines()[0]}"
            )
    sys.stdout.writelines(f"{line}\n" for line in found)


if __name__ == "__main__":
    django.setup()
    main(json.loads(sys.argv[1]))
