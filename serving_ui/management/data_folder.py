"""The data folder: made private, known to be writable, and used by one `up` at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile

from serving_ui.bootstrap.errors import StartError, reason, unwritable
from serving_ui.lib import env

LOCK = "up.lock"


def path(root: str) -> str:
    """Where SERVING_UI_DATA says, else beside manage.py."""
    return os.path.abspath(env.text("DATA", os.path.join(root, "data")))


def make(folder: str) -> None:
    """The folder exists and can be written, or the person hears why not. An existing one keeps its mode."""
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
    """Hold the folder until this process ends, however it ends; the answer is the open lock."""
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
