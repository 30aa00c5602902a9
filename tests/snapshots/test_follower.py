"""The snapshot follower of a gateway process."""

from __future__ import annotations

import pytest

from serving_ui.gateway.snapshot import Snapshot, SnapshotHolder
from serving_ui.revisions import gateways
from serving_ui.snapshots.follower import SnapshotFollower
from tests.support.waiting import wait_until


class RecordingHolder(SnapshotHolder):
    """Records the rank and the number of processes when the first snapshot is put into service."""

    __slots__ = ("at_first",)

    def replace(self, snapshot: Snapshot) -> None:
        if not self.current.revision:
            self.at_first = self.rank_and_count
        super().replace(snapshot)


@pytest.mark.django_db(transaction=True)
def test_rank_and_count_are_set_before_the_first_snapshot_is_served():
    gateways.join(process="~another")
    holder = RecordingHolder()
    follower = SnapshotFollower(holder)
    follower.start()
    try:
        wait_until(lambda: holder.current.revision, what="the first snapshot")
    finally:
        follower.stop()
    assert holder.at_first == (0, 2)
