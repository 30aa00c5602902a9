"""A function in the background: one run at a time, and one more for requests that came during a run."""

from __future__ import annotations

import threading

import pytest

from serving_ui.lib.background import Background
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db


def test_requests_during_a_run_lead_to_one_more_run():
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)
    running: list[int] = []

    def run() -> None:
        running.append(1)
        entered.release()
        go_on.acquire()

    background = Background("test", run)
    background.request()
    entered.acquire()
    for _ in range(5):
        background.request()
    assert len(running) == 1
    go_on.release(2)
    wait_until(lambda: len(running) == 2)
    wait_until(lambda: not any(thread.name == "test" for thread in threading.enumerate()))
    assert len(running) == 2


def test_a_run_that_fails_is_logged_and_the_next_request_runs_again(caplog: pytest.LogCaptureFixture):
    ran = threading.Semaphore(0)

    def run() -> None:
        ran.release()
        raise ValueError("broken")

    background = Background("failing", run)
    for _ in range(2):
        background.request()
        assert ran.acquire(timeout=30)
        wait_until(lambda: not any(thread.name == "failing" for thread in threading.enumerate()))
    assert [record.message for record in caplog.records] == ["The task failing failed"] * 2
