"""What `/readyz` knows of the worker: when it last swept and took usage in, on the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from serving_ui.endpoints import chores, worker_watch
from serving_ui.endpoints.models import Chore
from serving_ui.endpoints.worker_watch import WorkerWatch
from serving_ui.tasks import ingest_usage, sweep

pytestmark = pytest.mark.django_db
BOTH = [chores.SWEEP, chores.INTAKE]


@pytest.fixture(autouse=True)
def nothing_was_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "_noted", {})


def watch() -> WorkerWatch:
    made = WorkerWatch()
    made.look()
    return made


def test_what_the_tasks_do_is_noted(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path / "spool"
    sweep()
    ingest_usage()
    seen = watch()
    assert all(0 <= (seen.age(chore) or 0) < 20 for chore in BOTH)
    assert [seen.concern(chore) for chore in BOTH] == [None, None]


def test_intake_that_leaves_a_file_is_not_noted(settings: Any, tmp_path: Any):
    settings.SPOOL_FOLDER = tmp_path
    (tmp_path / "0.records").mkdir()
    ingest_usage()
    assert watch().age(chores.INTAKE) is None


@pytest.mark.parametrize("chore", BOTH)
@pytest.mark.parametrize("seconds", [40, 86_400, -3600])
def test_what_was_done_long_ago_is_told(chore: str, seconds: int):
    """Or in the future, by a clock that was set back since."""
    Chore.objects.create(pk=chore, ended_at=Now() - timedelta(seconds=seconds))
    said = watch().concern(chore) or ""
    assert f" for {abs(seconds)} s" in said or f" for {abs(seconds) + 1} s" in said
    assert "See that a worker, beat and the broker run" in said
    chores.ended(chore)
    assert watch().concern(chore) is None


@pytest.mark.parametrize("chore", BOTH)
def test_what_was_never_done_is_told_after_a_while(chore: str, monkeypatch: pytest.MonkeyPatch):
    seen = watch()
    assert (seen.age(chore), seen.concern(chore)) == (None, None)
    monkeypatch.setattr(worker_watch, "LATE_SECONDS", 0.0)
    assert " yet. " in (seen.concern(chore) or "")


@pytest.mark.parametrize("chore", BOTH)
def test_nothing_is_said_without_the_database(chore: str, monkeypatch: pytest.MonkeyPatch):
    """That it is away is told already, and what was read earlier says nothing of now."""
    Chore.objects.create(pk=chore, ended_at=Now() - timedelta(hours=1))
    seen = watch()
    monkeypatch.setattr(worker_watch, "STALE_SECONDS", 0.0)
    assert (seen.age(chore), seen.concern(chore)) == (None, None)
