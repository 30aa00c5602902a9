"""An update completes although the clock is set or processes are suspended meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clocks import Clock
from tests.support.product import BEAT, WORKER, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.suspending import suspended
from tests.support.waiting import pass_time, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
DEADLINE = 6
HOUR = 3600
SOON = 150.0  # several times the longest pause between two polls, and far less than HOUR


@pytest.fixture(scope="module")
def short_deadline_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product with a short deadline for updates."""
    settings = {"SERVING_UI_CHECK_DEADLINE_SECONDS": str(DEADLINE)}
    with Product(tmp_path_factory.mktemp("hasty"), **settings).up() as started:
        yield started


@pytest.fixture
def person(short_deadline_product: Product) -> Iterator[Person]:
    with short_deadline_product.person("owner@example.com") as owner:
        yield owner


def test_an_update_completes_after_its_worker_was_suspended_for_longer_than_the_deadline(
    short_deadline_product: Product, person: Person, provider: SandboxServer
):
    with suspended(
        short_deadline_product.program.process.pid,
        short_deadline_product.process(WORKER),
        short_deadline_product.process(BEAT),
    ):
        person.create("stopped", base=provider.base)
        pass_time(DEADLINE + 1)
    person.wait_for_state("stopped", "Ready")


def test_an_update_completes_after_the_whole_machine_was_suspended(
    short_deadline_product: Product, person: Person, provider: SandboxServer
):
    first = (
        short_deadline_product.program.process.pid,
        short_deadline_product.process(WORKER),
        short_deadline_product.process(BEAT),
    )
    with suspended(*first):
        person.create("suspended", base=provider.base)
        with suspended(*(short_deadline_product.program.descendants() - set(first))):
            pass_time(DEADLINE + 1)
    person.session.close()  # the server closes a connection that was idle for so long
    person.wait_for_state("suspended", "Ready")


def test_a_busy_provider_is_retried_after_the_machine_was_suspended(
    short_deadline_product: Product, person: Person, provider: SandboxServer
):
    provider.set_faults(on="models", status=503)
    person.create("retried", base=provider.base)
    provider.wait_for("models")
    with suspended(short_deadline_product.program.process.pid, *short_deadline_product.program.descendants()):
        pass_time(DEADLINE + 1)
        provider.reset()
    person.session.close()
    person.wait_for_state("retried", "Ready")


def test_an_update_completes_after_the_clock_was_set_back_by_an_hour(tmp_path: Path, provider: SandboxServer):
    clock = Clock(tmp_path)
    with Product(tmp_path / "product", **clock.env).up() as product, product.person("a@example.com") as owner:
        owner.create("before", base=provider.base)
        owner.wait_for_state("before", "Ready")
        provider.set_faults(on="models", status=503)
        owner.create("busy", base=provider.base)
        provider.wait_for("models", count=2)
        clock.set(-HOUR)
        pass_time(3)
        provider.reset()
        owner.wait_for_state("busy", "Ready", seconds=SOON)
        assert owner.query("busy").status == 200
        wait_until(lambda: '"ready"' in owner.get("/readyz").text, what="readiness")
