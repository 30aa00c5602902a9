"""Writes the snapshot cache whenever the snapshot has changed, in a thread of its own, so that no change waits for the disk."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.snapshots import snapshot_cache

log = logging.getLogger(__name__)
CHECK_SECONDS = 1.0  # several changes within this time are written once
MIN_IDLE_RATIO = (
    9  # idle time after a write, in durations of that write: the thread writes a tenth of the time at most
)


class SnapshotCacheWriter:
    """Started once, by the follower. `stop` writes a snapshot that is not written yet."""

    def __init__(self, holder: SnapshotHolder, *, path: Path) -> None:
        self._holder = holder
        self._path = path
        self._saved_revision = 0
        self._failed_revision = -1  # its failure has been logged
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-cache-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def check_health(self) -> str | None:
        """A sentence for the operator if the cache could not be written."""
        if self._failed_revision != self._holder.current.revision:
            return None
        return (
            "The snapshot cache cannot be written to the data folder; the log has the reason. Without it no gateway process can "
            "start while the database is unreachable. Make room there, or give the gateway's user the right to write."
        )

    def _run(self) -> None:
        took = 0.0
        while not self._stop.wait(max(CHECK_SECONDS, MIN_IDLE_RATIO * took)):
            began = time.monotonic()
            self._save()
            took = time.monotonic() - began
        self._save()

    def _save(self) -> None:
        snapshot = self._holder.current
        if snapshot.revision == self._saved_revision:
            return
        try:
            if not snapshot_cache.save(snapshot, path=self._path, pause=self._stop.wait):
                return
        except Exception as problem:  # the gateway works without a cache
            if self._failed_revision != snapshot.revision:
                log.error(
                    "The snapshot cache cannot be written to %s (%s). It is tried again. "
                    "Make room there, or give this process the right to write.",
                    self._path, problem, exc_info=not isinstance(problem, OSError),
                )  # fmt: skip
            self._failed_revision = snapshot.revision
            return
        self._saved_revision, self._failed_revision = snapshot.revision, -1
