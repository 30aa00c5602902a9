"""Models that were moved or renamed keep their tables, which the previous version uses during a rolling upgrade."""

from __future__ import annotations

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "migration",
    [
        ("revisions", "0001_initial"),
        ("endpoints", "0010_revisions_moved"),
        ("endpoints", "0011_worker_heartbeat"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_the_migrations_change_nothing_in_the_database(migration: tuple[str, str], backwards: bool):
    out = StringIO()
    call_command("sqlmigrate", *migration, backwards=backwards, stdout=out)
    statements = [line for line in out.getvalue().splitlines() if line.strip() and not line.startswith("--")]
    assert statements in ([], ["BEGIN;", "COMMIT;"])


@pytest.mark.parametrize(
    ("model", "table"),
    [
        ("revisions.Revision", "endpoints_revision"),
        ("revisions.Change", "endpoints_change"),
        ("revisions.GatewayProcess", "endpoints_gatewayprocess"),
        ("endpoints.WorkerHeartbeat", "endpoints_chore"),
    ],
)
def test_the_models_keep_their_table_names(model: str, table: str):
    assert apps.get_model(model)._meta.db_table == table
