"""Keys generated at the first start and stored in a file that only its owner can read."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from serving_ui.lib.env import EnvError


def read_or_create(path: Path, new_key: str) -> str:
    """The key in the file, which is created with the content `new_key` if it is missing. Safe if several processes start at once:
    one creates the file, and none reads it half written. Raises EnvError with a sentence."""
    try:
        if not path.exists():
            _write_once(path, new_key)
        content = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EnvError(
            f"The key file {path} cannot be read or made ({reason}). "
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
    """Creates the file atomically, under a lock on the folder, so that no lock file is left."""
    folder = os.open(path.parent, os.O_RDONLY)
    temporary = path.with_name(f"{path.name}.new")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return
        temporary.unlink(missing_ok=True)  # left by a process that was killed
        with open(temporary, "x", encoding="utf-8", opener=_open_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(folder)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
