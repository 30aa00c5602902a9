"""Checks of many hosts at a time: slow ones delay no other, and one worker checks a host at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from serving_ui.accounts.models import User
from serving_ui.lib import clock
from serving_ui.model_hosts import commands, discovery
from serving_ui.model_hosts.models import Health, ModelHost
from tests.model_hosts.conftest import FakeHost, states
from tests.support.raw_server import RawServer, raw_server
from tests.support.waiting import free_port, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Add = Callable[..., ModelHost]
SECONDS = 1.5
SLOW = 33


@pytest.fixture(autouse=True)
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SECONDS", SECONDS)


def be_slow(server: RawServer) -> None:
    """Answer a byte after the other, for longer than a check lasts."""
    server.answer(b"HTTP/1.1 200 OK\r\nX: ", later=(b"H",) * 60)


def start_checks() -> None:
    discovery.check_due_hosts(now=clock.now())


def wait_for_checks() -> None:
    """Until no host is being checked and none is due."""
    now = clock.now()
    due = ModelHost.objects.filter(next_check_at__lte=now)
    wait_until(lambda: not due.exists() and not being_checked(), what="the checks to end")


def being_checked() -> int:
    return ModelHost.objects.exclude(checking_until=None).count()


def make_due() -> None:
    ModelHost.objects.update(next_check_at=clock.now())


def test_hosts_that_answer_are_checked_while_many_others_do_not(add_host: Add, fake: FakeHost):
    with raw_server() as slow:
        be_slow(slow)
        for number in range(SLOW):
            add_host(f"slow{number}", base_url=f"{slow.url}/v1")
        add_host("gone", base_url=f"http://127.0.0.1:{free_port()}/v1")
        add_host("gpu")
        start_checks()
        wait_for_checks()
        health = dict(ModelHost.objects.values_list("name", "health"))
        assert health.pop("gpu") == Health.ONLINE
        assert (set(health.values()), len(health)) == ({Health.UNREACHABLE}, SLOW + 1)
        assert ModelHost.objects.get(name="slow7").error == "It did not answer in time."
        assert set(states()) == {"system-gpu-llama-3-1-8b", "system-gpu-nomic-embed-text"}
        earlier = len(slow.requests)
        make_due()
        start_checks()
        wait_until(lambda: len(fake.requests) == 2, what="the host that answers", seconds=SECONDS)
        assert len(slow.requests) - earlier <= discovery.THREADS_OF_A_GROUP
        wait_for_checks()


def test_one_worker_checks_a_host_at_a_time(add_host: Add, admin: User):
    with raw_server() as slow:
        be_slow(slow)
        add_host("slow", base_url=f"{slow.url}/v1")
        start_checks()
        wait_until(lambda: slow.requests)
        commands.check_now(name="slow", actor=admin, now=clock.now())
        start_checks()
        wait_until(lambda: ModelHost.objects.get().health == Health.UNREACHABLE)
        assert len(slow.requests) == 1
        wait_until(lambda: not being_checked())
        start_checks()  # what was due during the check is due after it
        wait_until(lambda: len(slow.requests) == 2)
        wait_for_checks()


def test_a_lease_ends_and_its_former_worker_stores_nothing(add_host: Add):
    with raw_server() as slow:
        be_slow(slow)
        host = add_host("slow", base_url=f"{slow.url}/v1")
        lease = clock.now() + timedelta(seconds=90)
        row = ModelHost.objects.filter(pk=host.pk)
        row.update(checking_until=lease)

        def check() -> None:
            discovery.check_host(host.pk, lease=lease)
            connection.close()

        former = threading.Thread(target=check)
        former.start()
        wait_until(lambda: slow.requests)
        other = lease + timedelta(seconds=1)
        row.update(checking_until=other)
        former.join()
        stored = ModelHost.objects.get()
        assert (stored.health, stored.checking_until) == (Health.UNCHECKED, other)
        row.update(checking_until=clock.now())  # the other worker died
        start_checks()
        wait_until(lambda: ModelHost.objects.get().health == Health.UNREACHABLE)
        wait_for_checks()
