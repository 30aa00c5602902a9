"""Slow credential checks of one person delay nobody else, and end at once when they are cancelled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count

import pytest

from tests.journeys.test_usage import rows
from tests.support.product import WORKER, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.slow_server import SlowServer, slow_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
SOON = 15.0
"""Seconds; less than the total timeout of a credential check (CALL_SECONDS), which a check that is held up would wait for."""
_NUMBERS = count(1)


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    with slow_server() as server:
        yield server


@pytest.fixture
def somebody(product: Product, owner: Person) -> Iterator[Person]:
    """Another person, whose endpoints have the slow provider."""
    with product.person(f"slow-{next(_NUMBERS)}@example.com") as person:
        yield person


def create(person: Person, base: str, how_many: int) -> list[str]:
    names = [f"slow-{next(_NUMBERS)}" for _ in range(how_many)]
    for name in names:
        person.create(name, base=base)
    return names


def delete(person: Person, names: list[str]) -> None:
    for name in names:
        person.post(f"/ml/endpoints/{name}/delete", {"typed_name": name})


@pytest.mark.parametrize("how_many", [5, pytest.param(50, marks=pytest.mark.faults)])
def test_slow_checks_delay_neither_other_people_nor_the_ingest_of_usage(
    owner: Person, somebody: Person, provider: SandboxServer, slow: SlowServer, how_many: int
):
    names = create(somebody, slow.base, how_many)
    slow.wait_for(4)
    for _ in range(3):
        name = f"quick-{next(_NUMBERS)}"
        owner.create(name, base=provider.base)
        assert owner.wait_for_state(name, "Ready") < SOON
        assert owner.query(name).status == 200
        wait_until(lambda name=name: rows(owner.product, name) == 1, what="the usage", seconds=120)  # type: ignore[misc]
    assert slow.max_open == 4, "the number of concurrent checks of one person is limited"
    waiting = [name for name in names if "Queued" in somebody.get(f"/ml/endpoints/{name}").text]
    assert len(waiting) >= how_many - 8
    delete(somebody, names)
    slow.wait_for(0)


def test_cancel_and_delete_close_the_connection_and_the_next_check_begins(
    somebody: Person, slow: SlowServer, provider: SandboxServer
):
    names = create(somebody, slow.base, 5)
    slow.wait_for(4)
    assert slow.request_count == 4
    somebody.cancel(names[0])
    wait_until(lambda: slow.request_count == 5, what="the fifth check", seconds=SOON)
    slow.wait_for(4, seconds=SOON)
    delete(somebody, names[1:3])
    slow.wait_for(2, seconds=SOON)
    for name in names[3:]:
        somebody.cancel(name)
    slow.wait_for(0, seconds=SOON)
    assert somebody.state(names[0]) == "Not ready (Update canceled)"
    somebody.edit(names[0], base=provider.base, openai_api_key_plaintext="another")
    assert somebody.wait_for_state(names[0], "Ready") < SOON


@pytest.mark.faults
def test_a_check_ends_after_its_timeout_and_the_page_shows_the_reason(somebody: Person, slow: SlowServer):
    (name,) = create(somebody, slow.base, 1)
    slow.wait_for(1)
    slow.wait_for(0, seconds=120)
    wait_until(
        lambda: "did not answer in time" in somebody.get(f"/ml/endpoints/{name}").text,
        what="the reason on the page",
    )
    delete(somebody, [name])


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=pytest.mark.faults), signal.SIGTERM])
def test_running_and_waiting_checks_complete_after_their_worker_ended(
    product: Product, somebody: Person, slow: SlowServer, how: signal.Signals
):
    names = create(somebody, slow.base, 8)
    slow.wait_for(4)
    before = product.process(WORKER)
    os.kill(before, how)
    slow.answer()
    product.wait_for_replacement(WORKER, before)
    for name in names:
        somebody.wait_for_state(name, "Ready", seconds=120)
