"""After a migration the previous version can still use the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

from tests.support.upgrade_check import CHECKED_AFTER


def new_columns(since: Mapping[str, str | None]) -> Iterator[tuple[str, models.Field[object, object]]]:
    """Each column that a migration after `since` adds to a table of the version before, with its name."""
    loader = MigrationLoader(None)
    for (app, name), migration in sorted(loader.disk_migrations.items()):
        if app not in since or name <= (since[app] or ""):
            continue
        for operation in migration.operations:
            if isinstance(operation, migrations.AddField):
                yield f"{app}.{name}: {operation.model_name}.{operation.name}", operation.field


def needs_a_value(field: models.Field[object, object]) -> bool:
    is_column = not isinstance(field, models.ManyToManyField)
    return is_column and not field.null and field.db_default is NOT_PROVIDED


def test_every_new_column_is_nullable_or_has_a_database_default():
    assert [name for name, field in new_columns(CHECKED_AFTER) if needs_a_value(field)] == []


def test_columns_without_a_default_from_before_the_rule_are_found():
    found = [
        name
        for name, field in new_columns(dict.fromkeys(CHECKED_AFTER, "0001_initial"))
        if needs_a_value(field)
    ]
    assert "endpoints.0002_ai_gateway_and_notifications: endpoint.ai_gateway" in found
