"""Health checks of the usage spool on this machine's disk. Each returns None, or a sentence for `/readyz`.

`/readyz` is public, so the sentences name no path outside of the data folder.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from serving_ui.gateway import lockfiles
from serving_ui.gateway.spool import SET_ASIDE, files

OVERDUE_SECONDS = 60.0  # the worker usually deletes a finished file after two
CHECK_INTERVAL_SECONDS = 1.0
MIN_FREE_SHARE, MIN_FREE_BYTES = 0.05, 1024**3  # a disk is nearly full when less than both is free


class UnprocessedFiles:
    """Finished files that the worker has not processed. Lists the folder at most once in CHECK_INTERVAL_SECONDS."""

    def __init__(self, folder: Path, *, overdue_seconds: float = OVERDUE_SECONDS) -> None:
        self._folder = folder
        self._overdue_seconds = overdue_seconds
        self._problem: str | None = None
        self._checked_at = -CHECK_INTERVAL_SECONDS

    def __call__(self) -> str | None:
        if time.monotonic() - self._checked_at >= CHECK_INTERVAL_SECONDS:
            self._checked_at, self._problem = time.monotonic(), self._check()
        return self._problem

    def _check(self) -> str | None:
        now, found = time.time(), []
        with suppress(OSError):  # the spool itself reports an unusable folder
            for path in files(self._folder):
                with suppress(FileNotFoundError):
                    found.append((path.stat().st_mtime, path))
        for written_at, path in sorted(found):
            if now - written_at < self._overdue_seconds:
                return None
            if _is_abandoned(path):
                return (
                    f"Usage has waited in the data folder for {now - written_at:.0f} s. Check that a worker runs on this machine "
                    "with this data folder. `manage.py check_usage` names files that cannot be read."
                )
        return None


def set_aside(folder: Path) -> str | None:
    """Lines that could not be stored in the database."""
    try:
        (folder / SET_ASIDE).stat()
    except OSError:
        return None
    return (
        f"Some usage could not be stored. It is in the data folder, in {folder.name}/{SET_ASIDE}, with the reasons. "
        "Run `manage.py check_usage`, read that file, and delete it."
    )


def nearly_full(
    folder: Path, *, min_free_share: float = MIN_FREE_SHARE, min_free_bytes: int = MIN_FREE_BYTES
) -> str | None:
    """The disk of the data folder, or of the spool in it, is nearly full."""
    for place in (folder, folder.parent):
        with suppress(OSError):
            disk = os.statvfs(place)
            free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
            if free < min(min_free_bytes, min_free_share * size):
                return (
                    f"The disk of the data folder is nearly full: {free // 1024**2} MB are free. Make room: when it is full, "
                    "usage is lost, and changes that must be stored there fail."
                )
    return None


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return lockfiles.is_abandoned(file.fileno())
    except OSError:  # deleted, or not readable
        return False
