"""A file beside the spool for lines that cannot be stored as rows, for the operator to read.

It has one line of JSON for each: the file and offset that it comes from, why it could not be stored, and its text. When the file
has reached its maximum size, further lines are only counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic_core import to_json

from serving_ui.gateway.spool import MAX_FILE_BYTES, SET_ASIDE, InvalidLine

log = logging.getLogger(__name__)
MAX_TEXT_BYTES = 4096  # of each line


def append(folder: Path, name: str, lines: Iterable[InvalidLine]) -> None:
    """Adds lines of the spool's file `name` that are not there yet. Raises OSError.

    Must be called before the commit of the transaction that counts them: after a crash in between both are done again.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(folder / SET_ASIDE, flags, 0o600), "r+b", buffering=0) as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):  # a crash left an incomplete line
            file.truncate(end)
        new = [_entry(name, line) for line in lines if _key(name, line) not in content[:end]]
        fitting = _fitting(new, room=MAX_FILE_BYTES - end)
        added = b"".join(fitting)
        if file.write(added) != len(added):
            file.truncate(end)
            raise OSError("the disk is full")
    if new:
        log.error(
            "%d lines of the file %s of the usage spool cannot be stored. They are in %s with the reasons; read that file, then delete it.",
            len(new), name, folder / SET_ASIDE,
        )  # fmt: skip
    if len(fitting) < len(new):
        log.error("That file is full, so %d of these lines are only counted.", len(new) - len(fitting))


def delete_expired(folder: Path, *, before: datetime) -> None:
    """Deletes the file if its last line was added before that time: like rows, it names principals."""
    path = folder / SET_ASIDE
    with suppress(OSError):
        if path.stat().st_mtime < before.timestamp():
            path.unlink()


def _key(name: str, line: InvalidLine) -> bytes:
    return to_json({"file": name, "offset": line.offset})[:-1] + b","


def _entry(name: str, line: InvalidLine) -> bytes:
    text = line.line[:MAX_TEXT_BYTES].decode(errors="backslashreplace").rstrip("\n")
    return _key(name, line) + to_json({"reason": line.reason, "line": text})[1:] + b"\n"


def _fitting(entries: list[bytes], *, room: int) -> list[bytes]:
    """The first entries that fit into `room` bytes."""
    for at, entry in enumerate(entries):
        room -= len(entry)
        if room < 0:
            return entries[:at]
    return entries
