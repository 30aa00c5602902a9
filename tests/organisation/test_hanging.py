"""Worker and beat that wait for an unavailable broker do not hang, and the supervisor does not kill them."""

from __future__ import annotations

import pytest

from serving_ui.processes.liveness import SILENCE_SECONDS
from tests.organisation.conftest import Broker
from tests.support.product import BEAT, WORKER, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.waiting import pass_time, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
AWAY_SECONDS = SILENCE_SECONDS + 5  # longer than a process may be silent


def test_worker_and_beat_survive_a_broker_that_is_stopped_or_suspended(
    product: Product, broker: Broker, owner: Person, provider: SandboxServer
):
    before = product.process(WORKER), product.process(BEAT)
    broker.service.stop()
    pass_time(AWAY_SECONDS)
    broker.service.start()
    owner.create("after-away", base=provider.base)
    owner.wait_for_state("after-away", "Ready", seconds=120)
    with broker.service.suspended():
        pass_time(AWAY_SECONDS)
    owner.create("after-silent", base=provider.base)
    owner.wait_for_state("after-silent", "Ready", seconds=120)
    assert (product.process(WORKER), product.process(BEAT)) == before
    assert "has sent no heartbeat" not in product.program.text
    wait_until(lambda: owner.query("after-silent").status == 200, what="an answer")
