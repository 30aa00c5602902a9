"""Keeps the copy in the data folder as new as what is served, from a thread of its own: changes do not wait for it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from serving_ui.endpoints import copy
from serving_ui.gateway.snapshot import SnapshotHolder

log = logging.getLogger(__name__)
SAVE_SECONDS = 1.0  # between two looks; many changes in a row are written once
IDLE_SHARE = 9  # so many times as long as the last writing took, at least: a tenth of the time it writes


class Keeper:
    """Started once, with the follower; at the end it writes what is not written yet."""

    def __init__(self, holder: SnapshotHolder, *, path: Path) -> None:
        self._holder = holder
        self._path = path
        self._saved = 0
        self._failed = -1  # the revision whose failure has been told
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def concern(self) -> str | None:
        """Whether a process that starts while the database is away would serve something old."""
        if self._failed != self._holder.current.revision:
            return None
        return (
            "The copy of the snapshot cannot be written to the data folder; the log has the reason. Without it no gateway process "
            "starts while the database is away. Make room there, or give the gateway's user the right to write."
        )

    def _run(self) -> None:
        took = 0.0
        while not self._stop.wait(max(SAVE_SECONDS, IDLE_SHARE * took)):
            began = time.monotonic()
            self._save()
            took = time.monotonic() - began
        self._save()

    def _save(self) -> None:
        held = self._holder.current
        if held.revision == self._saved:
            return
        try:
            if not copy.save(held, path=self._path, pause=self._stop.wait):
                return
        except Exception as problem:  # the outermost edge of this thread: without a copy everything goes on
            if self._failed != held.revision:
                log.error(
                    "The copy of the snapshot cannot be written to %s (%s). It is tried again. "
                    "Make room there, or give this process the right to write.",
                    self._path, problem, exc_info=not isinstance(problem, OSError),
                )  # fmt: skip
            self._failed = held.revision
            return
        self._saved, self._failed = held.revision, -1
