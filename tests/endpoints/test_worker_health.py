"""What `/readyz` knows of the worker: when it last swept and took usage in, on the database's clock."""

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
TASKS = [worker_health.SWEEP, worker_health.INTAKE]


@pytest.fixture(autouse=True)
def nothing_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_health, "_recorded_at", {})


def read_health() -> WorkerHealth:
    made = WorkerHealth()
    made.refresh()
    return made


def test_what_the_tasks_do_is_recorded(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path / "spool"
    sweep()
    ingest_usage()
    seen = read_health()
    assert all(0 <= (seen.age(name) or 0) < 20 for name in TASKS)
    assert [seen.check_health(name) for name in TASKS] == [None, None]


def test_intake_that_leaves_a_file_is_not_recorded(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path
    (tmp_path / "0.records").mkdir()
    ingest_usage()
    assert read_health().age(worker_health.INTAKE) is None


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seconds", [40, 86_400, -3600])
def test_what_was_done_long_ago_is_told(name: str, seconds: int):
    """Or in the future, by a clock that was set back since."""
    WorkerHeartbeat.objects.create(pk=name, ended_at=Now() - timedelta(seconds=seconds))
    sentence = read_health().check_health(name) or ""
    assert f" for {abs(seconds)} s" in sentence or f" for {abs(seconds) + 1} s" in sentence
    assert "See that a worker, beat and the broker run" in sentence
    worker_health.record_heartbeat(name)
    assert read_health().check_health(name) is None


@pytest.mark.parametrize("name", TASKS)
def test_what_was_never_done_is_told_after_a_while(name: str, monkeypatch: pytest.MonkeyPatch):
    seen = read_health()
    assert (seen.age(name), seen.check_health(name)) == (None, None)
    monkeypatch.setattr(worker_health, "OVERDUE_SECONDS", 0.0)
    assert " yet. " in (seen.check_health(name) or "")


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_said_without_the_database(name: str, monkeypatch: pytest.MonkeyPatch):
    """That it is away is told already, and what was read earlier says nothing of now."""
    WorkerHeartbeat.objects.create(pk=name, ended_at=Now() - timedelta(hours=1))
    seen = read_health()
    monkeypatch.setattr(worker_health, "STALE_SECONDS", 0.0)
    assert (seen.age(name), seen.check_health(name)) == (None, None)
