"""Files that one process locks (flock) from before anybody can see them until the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def create(path: Path) -> int:
    """A file descriptor of a new, locked file to append to. Makes the folder; modes 0700 and 0600. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        hidden.rename(path)
    except OSError:
        os.close(file)
        hidden.unlink(missing_ok=True)
        raise
    return file


def is_abandoned(file: int) -> bool:
    """Whether the process that created this open file has closed it or has ended."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
