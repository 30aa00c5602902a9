"""`/readyz` of running processes reports a problem with what to do, until it is over."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serving_ui.gateway.spool import ENDING, SET_ASIDE
from tests.architecture.sources import ROOT
from tests.support.gateways import running_gateways
from tests.support.product import Person, Product
from tests.support.program import Program, running_program
from tests.support.sandbox import SandboxServer
from tests.support.server_alone import ServerAlone
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@contextlib.contextmanager
def full_disk(process: int) -> Iterator[None]:
    """No file of the process can grow, as on a full disk."""
    limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, limits)


@pytest.mark.smoke
def test_a_full_disk_is_reported_with_the_number_of_lost_rows(tmp_path: Path, provider: SandboxServer):
    """With a product of its own, because the lost rows would stay in the counts of `check_usage`."""
    own, name = Product(tmp_path), "chat"
    with (
        own.up(),
        own.person("owner@example.com") as owner,
        running_gateways(env=own.env, size=1) as gateways,
    ):
        owner.create(name, base=provider.base)
        owner.wait_for_state(name, "Ready")
        wait_until(lambda: gateways.query(name, owner.token).status_code == 200, what="an answer")
        (worker,) = gateways.workers()

        def is_degraded(*words: str) -> bool:
            degraded = "\n".join(gateways.readiness().json()["degraded"])
            return all(each in degraded for each in words)

        with full_disk(worker):
            for _each in range(3):
                assert gateways.query(name, owner.token).status_code == 200
            lost = "Usage cannot be written to the data folder (file too large): 3 rows of this process are lost so far."
            metrics = "The metrics of this process cannot be shared in the data folder (file too large)"
            wait_until(lambda: is_degraded(lost, metrics, "Make room there"), what="both reports")
        assert gateways.query(name, owner.token).status_code == 200
        wait_until(
            lambda: is_degraded("It can be written again. `manage.py check_usage` counts"),
            what="the report that rows are written again",
        )
        wait_until(lambda: not is_degraded(metrics), what="shared metrics")
        assert "Traceback" not in gateways.program.text


def test_lines_that_cannot_be_stored_are_reported_and_other_rows_are_stored(tmp_path: Path):
    started = Product(tmp_path)
    spool, strange = started.data / "spool", f"0{ENDING}"
    with started.up():
        token = started.command("create_token", "admin@example.com", "--admin")
        person = Person(started, requests.Session())
        spool.mkdir(exist_ok=True)
        lines = [{"format": 1, "fields": ["request_id"]}, [2**63, "a"], [1e400, "b"], [1, "c"]]
        draft = spool / ".draft"
        draft.write_text("".join(f"{json.dumps(each).replace('Infinity', '1e400')}\n" for each in lines))
        draft.rename(spool / strange)
        wait_until(
            lambda: person.query("sandbox-chat", token=token).status == 200, what="an answer", seconds=120
        )
        wait_until(lambda: ingested(started) == {"", "sandbox-chat"}, what="both rows", seconds=120)
        wait_until(lambda: not (spool / strange).exists(), what="the end of the file")
        (degraded,) = person.get("/readyz").json()["degraded"]
        assert degraded.startswith(
            "Some usage could not be stored. It is in the data folder, in spool/set-aside.jsonl"
        )
        with pytest.raises(AssertionError, match="2 set aside"):
            started.command("check_usage")
        lines = [json.loads(each)["line"] for each in (spool / SET_ASIDE).read_text().splitlines()]
        assert lines == ['[9223372036854775808, "a"]', '[1e400, "b"]']
        (spool / SET_ASIDE).unlink()
        wait_until(lambda: person.get("/readyz").json()["degraded"] == [], what="no more problems")


def ingested(product: Product) -> set[str]:
    """The endpoints of the rows in the database."""
    with contextlib.closing(sqlite3.connect(product.data / "serving_ui.sqlite3", timeout=60)) as database:
        return {endpoint for (endpoint,) in database.execute("SELECT endpoint FROM usage_request")}


def celery(alone: ServerAlone, *arguments: str) -> contextlib.AbstractContextManager[Program]:
    """A worker or beat without a supervisor, which would kill it when it hangs."""
    return running_program(
        [sys.executable, "-m", "celery", "--app", "serving_ui", "--quiet", *arguments],
        cwd=ROOT,
        env=alone.env,
    )


def test_a_blocked_worker_and_a_beat_that_has_ended_are_reported(tmp_path: Path):
    alone = ServerAlone(tmp_path / "data")
    alone.command("migrate", "--verbosity", "0")

    def answer() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{alone.url}/readyz", timeout=60).json()
        return found

    def is_silent() -> bool:
        ages = (answer()["seconds_since_sweep"], answer()["seconds_since_intake"])
        return all(age is not None and age < 20 for age in ages) and not complaints()

    def complaints() -> list[str]:
        return [
            re.sub(r" for \d+ s\..*", "", words)
            for words in answer()["degraded"]
            if "Check that a worker, beat" in words
        ]

    both = ["No worker has run the sweep for due updates", "No worker has stored usage in the database"]
    with alone.up(), celery(alone, "worker", "--pool", "threads") as worker:
        with celery(alone, "beat") as beat:
            wait_until(is_silent, what="a worker that works", seconds=180)
            worker.signal(signal.SIGSTOP)
            wait_until(lambda: complaints() == both, what="the reports about the worker", seconds=180)
            assert answer()["seconds_since_sweep"] > 30
            worker.signal(signal.SIGCONT)
            wait_until(is_silent, what="the worker to work again", seconds=180)
        assert beat.process.poll() is not None
        wait_until(lambda: complaints() == both, what="the reports after the end of beat", seconds=180)
