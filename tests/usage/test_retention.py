"""Deletion by retention uses indexes and never scans a whole table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext

from serving_ui.lib import clock
from serving_ui.usage import retention
from serving_ui.usage.models import Minute, Request, SpoolFile
from tests.usage.conftest import Gateway


def plan(statement: str) -> str:
    """The database's query plan for large tables."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            return "\n".join(str(row[3]) for row in cursor.fetchall())
        for other in ("seqscan", "sort", "bitmapscan"):  # which the database chooses while a table is small
            cursor.execute(f"SET LOCAL enable_{other} = off")
        cursor.execute(f"EXPLAIN {statement}")
        return "\n".join(str(row[0]) for row in cursor.fetchall())


def test_no_step_scans_or_sorts_a_whole_table(gateway: Gateway, ingest_all: Callable[[], int]):
    gateway.record_requests("old", at=(clock.now() - timedelta(days=20)).timestamp())
    gateway.stop()
    ingest_all()
    SpoolFile.objects.create(name="empty", is_done=True)
    with CaptureQueriesContext(
        connection,
    ) as done:
        retention.delete_expired(now=clock.now() + timedelta(days=400))
    assert not any(model.objects.exists() for model in (Request, SpoolFile, Minute))
    statements = [
        query["sql"] for query in done.captured_queries if query["sql"].startswith(("SELECT", "DELETE"))
    ]
    assert len([each for each in statements if each.startswith("DELETE")]) == 4
    for statement in statements:
        how = plan(statement)
        assert not any(word in how for word in ("SCAN", "TEMP B-TREE", "Seq Scan", "Sort", "Filter: (at")), (
            f"{statement}\n{how}"
        )


def test_old_rows_are_deleted_in_batches(gateway: Gateway, ingest_all: Callable[[], int], monkeypatch):
    monkeypatch.setattr(retention, "BATCH_SIZE", 2)
    at = (clock.now() - timedelta(days=20)).timestamp()
    gateway.record_requests(*"abcde", at=at)
    gateway.record_requests("today")
    ingest_all()
    with CaptureQueriesContext(connection) as done:
        retention.delete_expired(now=clock.now())
    assert [row.request_id for row in Request.objects.all()] == ["today"]
    assert (
        len([each for each in done.captured_queries if each["sql"].startswith('DELETE FROM "usage_request"')])
        == 3
    )
