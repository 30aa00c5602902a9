"""Health checks of the usage spool on this machine's disk. Each returns None, or a sentence for `/readyz`.

`/readyz` needs no token, so the sentences name no path outside of the data folder.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from serving_ui.gateway import lockfiles
from serving_ui.gateway.spool import SET_ASIDE, files

OVERDUE_SECONDS = 60.0  # the worker usually deletes a finished file after two
LOOK_SECONDS = 1.0
LEAST_SHARE, LEAST_BYTES = 0.05, 1024**3  # nearly full: less than both is free


class UnprocessedFiles:
    """Finished files that the worker has not processed. Lists the folder at most once in LOOK_SECONDS."""

    def __init__(self, folder: Path, *, overdue_seconds: float = OVERDUE_SECONDS) -> None:
        self._folder = folder
        self._late_seconds = overdue_seconds
        self._found: str | None = None
        self._looked_at = -LOOK_SECONDS

    def __call__(self) -> str | None:
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at, self._found = time.monotonic(), self._look()
        return self._found

    def _look(self) -> str | None:
        now, found = time.time(), []
        with suppress(OSError):  # the spool itself reports an unusable folder
            for path in files(self._folder):
                with suppress(FileNotFoundError):
                    found.append((path.stat().st_mtime, path))
        for written_at, path in sorted(found):
            if now - written_at < self._late_seconds:
                return None
            if _is_abandoned(path):
                return (
                    f"Usage has waited in the data folder for {now - written_at:.0f} s. See that a worker runs on this machine "
                    "with this data folder, and what `manage.py check_usage` says of files that it cannot take in."
                )
        return None


def set_aside(folder: Path) -> str | None:
    """Lines that could not be stored in the database."""
    try:
        (folder / SET_ASIDE).stat()
    except OSError:
        return None
    return (
        f"Some usage could not be stored. It is kept in the data folder, in {folder.name}/{SET_ASIDE}, with the reasons. "
        "Run `manage.py check_usage`, read that file, and delete it."
    )


def nearly_full(
    folder: Path, *, least_share: float = LEAST_SHARE, least_bytes: int = LEAST_BYTES
) -> str | None:
    """The disk of the data folder, or of the spool in it, is nearly full."""
    for place in (folder, folder.parent):
        with suppress(OSError):
            disk = os.statvfs(place)
            free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
            if free < min(least_bytes, least_share * size):
                return (
                    f"The disk of the data folder is nearly full: {free // 1024**2} MB are free. Make room: when it is full, "
                    "usage is lost, and changes fail that are kept there."
                )
    return None


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return lockfiles.is_abandoned(file.fileno())
    except OSError:  # deleted, or not readable
        return False
