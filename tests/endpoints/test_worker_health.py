"""`/readyz` reports when the worker last swept and ingested usage, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from serving_ui.endpoints import worker_health
from serving_ui.endpoints.models import WorkerHeartbeat
from serving_ui.endpoints.worker_health import WorkerHealth
from serving_ui.tasks import ingest_usage, sweep

pytestmark = pytest.mark.django_db
TASKS = [worker_health.SWEEP, worker_health.INGEST]


@pytest.fixture(autouse=True)
def nothing_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_health, "_recorded_at", {})


def read_health() -> WorkerHealth:
    made = WorkerHealth()
    made.refresh()
    return made


def test_tasks_record_their_last_run(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path / "spool"
    sweep()
    ingest_usage()
    seen = read_health()
    assert all(0 <= (seen.age(name) or 0) < 20 for name in TASKS)
    assert [seen.check_health(name) for name in TASKS] == [None, None]


def test_an_ingest_that_leaves_a_file_is_not_recorded(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path
    (tmp_path / "0.records").mkdir()
    ingest_usage()
    assert read_health().age(worker_health.INGEST) is None


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seconds", [40, 86_400, -3600])
def test_a_last_run_long_ago_is_reported(name: str, seconds: int):
    """Also a time in the future, which remains after a clock was set back."""
    WorkerHeartbeat.objects.create(pk=name, ended_at=Now() - timedelta(seconds=seconds))
    sentence = read_health().check_health(name) or ""
    assert f" for {abs(seconds)} s" in sentence or f" for {abs(seconds) + 1} s" in sentence
    assert "Check that a worker, beat and the broker are running" in sentence
    worker_health.record_heartbeat(name)
    assert read_health().check_health(name) is None


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_never_ran_is_reported_after_a_while(name: str, monkeypatch: pytest.MonkeyPatch):
    seen = read_health()
    assert (seen.age(name), seen.check_health(name)) == (None, None)
    monkeypatch.setattr(worker_health, "OVERDUE_SECONDS", 0.0)
    assert " yet. " in (seen.check_health(name) or "")


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_reported_without_the_database(name: str, monkeypatch: pytest.MonkeyPatch):
    """Another check reports the unreachable database, and values read earlier may be outdated."""
    WorkerHeartbeat.objects.create(pk=name, ended_at=Now() - timedelta(hours=1))
    seen = read_health()
    monkeypatch.setattr(worker_health, "STALE_SECONDS", 0.0)
    assert (seen.age(name), seen.check_health(name)) == (None, None)
