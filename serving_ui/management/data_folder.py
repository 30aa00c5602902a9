"""The data folder: created with private permissions, checked to be writable, and locked by one `up` at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile

from serving_ui.bootstrap.errors import StartError, reason, unwritable
from serving_ui.lib import env

LOCK = "up.lock"


def path(root: str) -> str:
    """SERVING_UI_DATA, or `data` beside manage.py."""
    return os.path.abspath(env.text("DATA", os.path.join(root, "data")))


def make(folder: str) -> None:
    """Create the folder unless it exists; an existing one keeps its mode. Raises StartError if it cannot be written."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(
            f"The data folder {folder} cannot be written ({reason(error)}). "
            "Give yourself the right to write there, or name another folder in SERVING_UI_DATA."
        ) from error


def claim(folder: str) -> int:
    """Lock the folder until this process ends. Returns the file descriptor of the lock."""
    try:
        lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StartError(
            f"Another `manage.py up` already uses the data folder {folder}. "
            "Stop that one, or name another folder in SERVING_UI_DATA."
        ) from None
    return lock
