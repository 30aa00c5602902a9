"""The queue of credential checks in a worker: waiting, messages of waiting rows, and aborted checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection

from serving_ui import tasks
from serving_ui.accounts.models import User
from serving_ui.endpoints import commands, leases, reconcile_queue, worker_health
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from tests.conftest import spec
from tests.endpoints.conftest import pass_time
from tests.support.sandbox import SandboxServer
from tests.support.slow_server import SlowServer, slow_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE_TIMEOUT = 15.0  # seconds; a check ends by itself after 20


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    """A slow provider. At its end all threads that could still write to the test's database have ended."""
    with slow_server() as server:
        yield server
    wait_until(
        lambda: not [each for each in threading.enumerate() if each.name.startswith(("job-", "lease"))]
    )


def create(owner: User, base: str, *names: str) -> list[Endpoint]:
    made = [
        commands.create_endpoint(spec=spec(name, base=base), actor=owner, now=clock.now()) for name in names
    ]
    for each in made:
        tasks.reconcile_endpoint(endpoint_id=each.pk)
    return made


def fresh(endpoint: Endpoint) -> Endpoint:
    return Endpoint.objects.select_related("pending").get(pk=endpoint.pk)


def message(endpoint: Endpoint) -> str:
    return endpoint.versions.get().message


def test_the_fifth_check_of_a_user_waits_without_lease_and_attempts(
    owner: User, teammate: User, slow: SlowServer, sandbox: SandboxServer
):
    *running, waiting = create(owner, slow.base, "a", "b", "c", "d", "e")
    slow.wait_for(4)
    row = fresh(waiting)
    assert "Queued: 4 other endpoints of the same person" in message(waiting)
    assert (row.attempts, row.lease_until) == (0, None)
    assert row.next_poll_at is not None and row.pending is not None
    assert clock.now() < row.next_poll_at < clock.now() + timedelta(seconds=15)
    (quick,) = create(teammate, sandbox.base, "quick")
    wait_until(lambda: fresh(quick).ready == "READY")
    commands.cancel_update(name=running[0].name, actor=owner, now=clock.now())
    wait_until(lambda: slow.request_count == 5, seconds=BEFORE_TIMEOUT)
    slow.wait_for(4)
    wait_until(lambda: message(waiting) == "")
    slow.answer()
    for each in (*running[1:], waiting):
        wait_until(lambda each=each: fresh(each).ready == "READY")  # type: ignore[misc]


def test_a_waiting_row_is_claimed_again_with_its_full_deadline(owner: User, slow: SlowServer):
    *_running, waiting = create(owner, slow.base, "a", "b", "c", "d", "e")
    slow.wait_for(4)
    pass_time(600)
    assert waiting.pk in leases.due()
    pending = fresh(waiting).pending
    assert pending is not None
    reconcile_queue.enqueue(endpoint_id=waiting.pk)
    after = fresh(waiting).pending
    assert after is not None
    assert after.deadline == pending.deadline + reconcile_queue.POSTPONEMENT
    slow.answer()
    wait_until(lambda: fresh(waiting).ready == "READY")


@pytest.mark.parametrize("how", ["cancel", "delete", "overtake", "end of the worker"])
def test_a_lost_lease_aborts_the_check(
    owner: User, slow: SlowServer, how: str, monkeypatch: pytest.MonkeyPatch
):
    (endpoint,) = create(owner, slow.base, "a")
    slow.wait_for(1)
    taken: list[int | None] = []
    if how == "cancel":
        commands.cancel_update(name="a", actor=owner, now=clock.now())
    elif how == "delete":
        commands.delete_endpoint(name="a", actor=owner, now=clock.now())
    elif how == "overtake":

        def take_lease_over() -> bool:
            """Take the lease over between two renewals by its holder."""
            pass_time(10)
            taken.append(leases.claim(endpoint_id=endpoint.pk))
            return taken[-1] is not None

        wait_until(take_lease_over)
    else:
        leases.release_all()
    slow.wait_for(0, seconds=BEFORE_TIMEOUT)
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("job-")])
    left = Endpoint.objects.filter(pk=endpoint.pk).first()
    if how == "cancel":
        assert left is not None and left.config_update == "UPDATE_CANCELED"
    elif how == "delete":
        assert left is None
    elif how == "overtake":
        assert left is not None and left.lease_token == taken[-1] and left.lease_until is not None
    else:
        assert left is not None and left.lease_until is None and left.is_updating
        assert left.attempts == 0


def test_one_thread_renews_all_leases_of_a_worker(owner: User, slow: SlowServer):
    create(owner, slow.base, "a", "b", "c")
    slow.wait_for(3)
    names = [each.name for each in threading.enumerate()]
    assert names.count("leases") == 1


def test_an_unreadable_config_counts_as_a_failed_attempt(owner: User, sandbox: SandboxServer):
    made = commands.create_endpoint(spec=spec("a", base=sandbox.base), actor=owner, now=clock.now())
    version = made.versions.get()
    version.spec = {"served_entities": 7}
    version.save()
    tasks.reconcile_endpoint(endpoint_id=made.pk)
    wait_until(lambda: fresh(made).attempts == 1)
    wait_until(
        lambda: not [each for each in threading.enumerate() if each.name.startswith(("job-", "lease"))]
    )


def test_the_worker_records_the_times_of_its_last_sweep_and_ingest(db: None):
    worker_health._recorded_at.clear()
    assert worker_health.heartbeat_ages() == {}
    tasks.sweep()
    assert set(worker_health.heartbeat_ages()) == {worker_health.SWEEP}
    tasks.ingest_usage()
    ages = worker_health.heartbeat_ages()
    assert set(ages) == {worker_health.SWEEP, worker_health.INGEST}
    assert all(-1 < age < 60 for age in ages.values())
    connection.close()
