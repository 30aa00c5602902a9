"""No row is lost or duplicated if a worker is killed at any step, or if several workers ingest concurrently."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum

from serving_ui.lib import clock
from serving_ui.usage import ingest as ingest_module
from serving_ui.usage.models import Minute, Request, SpoolFile
from tests.architecture.sources import ROOT
from tests.usage.conftest import Gateway


def kill_at_every_step(**settings: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
    env = {**clean, "DJANGO_SETTINGS_MODULE": "serving_ui.settings", **settings}
    command = [sys.executable, "-m", "tests.usage.killed_worker"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, answered, rows, different, minutes, left = map(int, done.stdout.splitlines()[0].split())
    assert kills > 30
    assert answered == rows == different == minutes
    assert left == 0
    assert "Usage is consistent." in done.stdout


@pytest.mark.slow
def test_a_worker_may_be_killed_at_every_step(tmp_path: Path):
    kill_at_every_step(SERVING_UI_DATA=str(tmp_path))


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_store_each_row_once(
    gateway: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ingest_module, "BATCH_LINES", 7)
    monkeypatch.setattr(ingest_module, "MAX_BATCHES", 1000)
    gate = threading.Barrier(4)
    problems: list[Exception] = []

    def work() -> None:
        gate.wait()
        try:
            for _ in range(20):
                ingest_module.ingest(folder=folder, clock=clock.now)
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    gate.wait()
    gateway.record_requests(*map(str, range(500)))
    for worker in workers:
        worker.join()
    gateway.stop()
    ingest_module.ingest(folder=folder, clock=clock.now)
    assert not problems
    assert Request.objects.count() == 500
    assert Minute.objects.aggregate(all=Sum("requests"))["all"] == 500
    assert SpoolFile.objects.get().rows == 500
    assert not list(folder.iterdir())
