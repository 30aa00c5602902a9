"""A gateway's follower: what a process knows from the moment that it serves."""

from __future__ import annotations

import pytest

from serving_ui.gateway.snapshot import Snapshot, SnapshotHolder
from serving_ui.revisions import gateways
from serving_ui.snapshots.follower import SnapshotFollower
from tests.support.waiting import wait_until


class Watched(SnapshotHolder):
    """Records the rank and the number of processes when the first snapshot is put into service."""

    __slots__ = ("at_first",)

    def replace(self, snapshot: Snapshot) -> None:
        if not self.current.revision:
            self.at_first = self.rank_and_count
        super().replace(snapshot)


@pytest.mark.django_db(transaction=True)
def test_a_process_serves_no_more_than_its_share_from_its_first_answer_on():
    gateways.join(process="~another")
    holder = Watched()
    follower = SnapshotFollower(holder)
    follower.start()
    try:
        wait_until(lambda: holder.current.revision, what="the first snapshot")
    finally:
        follower.stop()
    assert holder.at_first == (0, 2)
