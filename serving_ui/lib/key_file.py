"""Keys that are made at the first run and kept in a file, readable by its owner alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from serving_ui.lib.env import EnvError


def read_or_make(path: Path, make: str) -> str:
    """The key in the file, which is made with this content if there is none. Of several processes that start at once on an empty
    folder one makes it, and nobody reads it half written. Raises EnvError with a sentence."""
    try:
        if not path.exists():
            _write_once(path, make)
        content = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise EnvError(
            f"The key file {path} cannot be read or made ({words}). "
            "Make room, or give yourself the right to read and write there, and start again."
        ) from None
    except ValueError:
        content = ""
    if not content:
        raise EnvError(
            f"The key file {path} is empty or damaged. Restore it from a backup; without one delete it, and what was "
            "encrypted or signed with the key is lost."
        )
    return content


def _write_once(path: Path, content: str) -> None:
    """Under a lock on the folder, which leaves no file behind. The file is there at once and whole, or not at all."""
    folder = os.open(path.parent, os.O_RDONLY)
    unfinished = path.with_name(f"{path.name}.new")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return
        unfinished.unlink(missing_ok=True)  # of a process that was killed
        with open(unfinished, "x", encoding="utf-8", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
