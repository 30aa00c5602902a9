"""Lines of the spool that cannot become rows, kept in a file beside it for whoever runs this.

The file has a line of JSON for each: which file it was in, where, why it could not be stored, and its text. It is bounded: when it
is full, further lines are only counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic_core import to_json

from serving_ui.gateway.spool import MOST_BYTES, SET_ASIDE, Unusable

log = logging.getLogger(__name__)
MOST_TEXT = 4096  # bytes of each line


def keep(folder: Path, name: str, lines: Iterable[Unusable]) -> None:
    """Adds lines of the spool's file `name`, each once, also when it is called again for the same ones. Raises OSError.

    To be called before the transaction commits that counts them: a worker killed in between does all of it again.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(folder / SET_ASIDE, flags, 0o600), "r+b", buffering=0) as file:
        kept = file.read()
        whole = kept.rfind(b"\n") + 1
        if whole < len(kept):  # its writer was killed in the middle of a line
            file.truncate(whole)
        new = [_entry(name, line) for line in lines if _key(name, line) not in kept[:whole]]
        fitting = _fitting(new, room=MOST_BYTES - whole)
        added = b"".join(fitting)
        if file.write(added) != len(added):
            file.truncate(whole)
            raise OSError("the disk is full")
    if new:
        log.error(
            "%d lines of the file %s of the usage spool cannot be stored. They are kept in %s; see why there, then delete it.",
            len(new), name, folder / SET_ASIDE,
        )  # fmt: skip
    if len(fitting) < len(new):
        log.error("That file is full: %d of them are only counted.", len(new) - len(fitting))


def forget(folder: Path, *, before: datetime) -> None:
    """Deletes the file when its last line was added before that: it says who asked, as rows do, and is kept no longer."""
    path = folder / SET_ASIDE
    with suppress(OSError):
        if path.stat().st_mtime < before.timestamp():
            path.unlink()


def _key(name: str, line: Unusable) -> bytes:
    return to_json({"file": name, "offset": line.offset})[:-1] + b","


def _entry(name: str, line: Unusable) -> bytes:
    text = line.line[:MOST_TEXT].decode(errors="backslashreplace").rstrip("\n")
    return _key(name, line) + to_json({"reason": line.reason, "line": text})[1:] + b"\n"


def _fitting(entries: list[bytes], *, room: int) -> list[bytes]:
    """As many of the first ones as there is room for."""
    for at, entry in enumerate(entries):
        room -= len(entry)
        if room < 0:
            return entries[:at]
    return entries
