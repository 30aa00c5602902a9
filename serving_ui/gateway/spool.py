"""Where a gateway process keeps its records until the worker has them in the database: files that only grow, read by anybody.

A record is one line, written with one call before the last byte of its answer goes out: it survives this process and a
database that is away, and a record that was not written was not answered. The first line of a file names the fields of the
others, so that a worker may be older or newer than the gateway. Each line begins with its number in the file: a gap is a row
that was lost, and how many there are is known for ever.

The process holds a lock on the file that it writes. A file whose lock is free gets no more lines, however its writer ended.

Measured on a local disk: 3 us and 250 bytes a record. The lines are not synced one by one: they survive a
killed process and not a machine without power. A full disk costs the row, which is counted and logged, never the answer; what is
in the file by then is left to the worker, who deletes it and so makes room for the next one.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

from pydantic_core import to_json

from serving_ui.gateway import lockfiles
from serving_ui.gateway.meter import Gauge
from serving_ui.gateway.record import Record
from serving_ui.lib import json_text

ENDING = ".records"
SET_ASIDE = "set-aside.jsonl"  # beside them: lines that could not be stored
MOST_BYTES = 8 * 1024 * 1024
MOST_SECONDS = 600.0  # then a new file is begun, so that the old one can be cleared away
PAUSE_SECONDS = 1.0  # after a file could not be made
SILENCE_SECONDS = 60.0  # between two lines of the log about lost rows
LOSS_TOLD_SECONDS = 600.0  # so long after the last lost row /readyz speaks of it
FORMAT = 1
MOST_LINE_BYTES = 256 * 1024  # what callers may add to a record comes to 50 kB
MOST_PORTION_BYTES = 4 * 1024 * 1024
MOST_NUMBER = 2**31 - 1  # what the database takes
_HEADER = to_json({"format": FORMAT, "fields": Record._fields}) + b"\n"
_log = logging.getLogger("serving_ui.gateway")


class _Pause(OSError):
    """It is not tried yet whether the disk can be written again."""


class Spool:
    """The Recorder of one process. `lost` counts the rows that could not be written."""

    def __init__(
        self, folder: Path, *, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS
    ) -> None:
        self.lost = 0
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._file = -1
        self._number = 0  # of the newest record in the file, written or lost
        self._size = 0
        self._until = 0.0  # then another file is begun; at once, as there is none
        self._missing = 0  # rows lost since the last one that was written
        self._not_before = 0.0  # after a failure: when a file is tried again
        self._silent_until = 0.0
        self._problem = ""  # why the last row was lost
        self._lost_at = 0.0

    def record(self, record: Record) -> None:
        """Writes it down. Never raises: the answer matters more than its row."""
        try:
            if self._size >= self._most_bytes or monotonic() >= self._until:
                self._begin()
            self._number += 1
            line = b"%b\n" % to_json((self._number, *record))
            self._write(line)
            self._size += len(line)
            self._missing = 0
        except (OSError, ValueError) as problem:
            self._lose(record, problem)

    def gauges(self) -> Iterable[Gauge]:
        """What there is to watch."""
        waiting = 0
        with suppress(OSError):
            for path in files(self._folder):
                with suppress(FileNotFoundError):  # the worker has stored it all just now
                    waiting += path.stat().st_size
        yield Gauge(
            "serving_ui_spool_bytes",
            "Usage on this machine's disk; the worker deletes what it has stored.",
            waiting,
        )
        yield Gauge(
            "serving_ui_usage_rows_lost", "Rows that this process could not write to the spool.", self.lost
        )

    def health_problem(self) -> str | None:
        """Whether rows were lost a short while ago, and are lost now."""
        if not self.lost or monotonic() - self._lost_at > LOSS_TOLD_SECONDS:
            return None
        so_far = f"{self.lost} rows of this process are lost"
        if self._missing:
            return (
                f"Usage cannot be written to the data folder ({self._problem}): {so_far} so far. The answers are not affected. "
                "Make room there, or give the gateway's user the right to write."
            )
        return (
            f"Usage could not be written to the data folder for a while ({self._problem}): {so_far}. It can be written again. "
            "`manage.py check_usage` counts what is missing."
        )

    def stop(self) -> None:
        """No more records come. What was noted is in the file; without one nothing is left behind."""
        if self._file >= 0:
            os.close(self._file)  # the lock goes with it
        self._file, self._until = -1, 0.0

    def _begin(self) -> None:
        """A new file."""
        now = monotonic()
        if now < self._not_before:
            raise _Pause("the spool's folder could not be written a moment ago")
        self.stop()
        self._size, self._not_before = 0, now + PAUSE_SECONDS
        name = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid4().hex[:12]}{ENDING}"
        self._file = lockfiles.create(self._folder / name)
        try:
            self._write(_HEADER)
        except OSError:
            (self._folder / name).unlink(missing_ok=True)
            raise
        self._size, self._until, self._not_before = len(_HEADER), now + self._most_seconds, 0.0
        self._number = self._missing  # what is missing since the last row leaves its gap here

    def _write(self, line: bytes) -> None:
        """All of it, or the file has had its last line."""
        try:
            if os.write(self._file, line) != len(line):
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)  # else a piece of a lost row would pass for a row
                raise OSError("the disk is full")
        except OSError:
            self.stop()
            raise

    def _lose(self, record: Record, problem: Exception) -> None:
        self.lost += 1
        self._missing += 1
        self._lost_at = monotonic()
        if not isinstance(problem, OSError):
            self._problem = "it cannot be said in JSON"
        elif not isinstance(problem, _Pause):
            self._problem = (
                problem.strerror or str(problem)
            ).lower()  # without the path: anybody may read it
        if monotonic() >= self._silent_until:
            self._silent_until = monotonic() + SILENCE_SECONDS
            _log.error(
                "The usage of request %s could not be written to %s (%s); %d rows are lost so far. "
                "The answers are not affected. Make room there, or give this process the right to write.",
                record.request_id, self._folder, problem, self.lost,
            )  # fmt: skip


def files(folder: Path) -> list[Path]:
    """The spool's files, by name. Raises OSError when the folder cannot be listed; one that is not there has none."""
    try:
        # Hidden is one whose writer has not locked it yet.
        return sorted(
            path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith(".")
        )
    except FileNotFoundError:
        return []


class Row(NamedTuple):
    """A line that says something. `values` are by field name."""

    number: int
    values: dict[str, Any]
    offset: int
    line: bytes


class Unusable(NamedTuple):
    """A line that cannot become a row. `line` may be its beginning only; `reason` is a sentence."""

    offset: int
    line: bytes
    reason: str


@dataclass(frozen=True)
class Portion:
    """Some lines of a file. `offset` is where the next portion begins."""

    rows: list[Row]
    unusable: list[Unusable]
    offset: int
    is_last: bool
    """Nothing comes after it: the writer has ended or gone on to another file, and this is the end of it."""


class NewerFormat(Exception):
    """The file was written by a newer version, and only a newer version can read it. The message is a sentence."""


def read(path: Path, *, offset: int, most: int) -> Portion:
    """The next lines of a file from `offset` on, at most so many. Raises OSError, such as when the file is gone, and NewerFormat."""
    with path.open("rb") as file:
        # RequestContext first: what is read afterwards is all that will ever be there.
        is_closed = lockfiles.is_abandoned(file.fileno())
        header = _next_line(file)
        if not header.is_whole and not is_closed:  # just about to be written
            return Portion(rows=[], unusable=[], offset=0, is_last=False)
        names = _names(header.start)
        rows: list[Row] = []
        unusable = []
        if names is None and offset == 0 and header.length:
            unusable.append(Unusable(0, header.start, "The header of the file cannot be read."))
        first = offset = max(offset, header.length)
        is_last = False
        file.seek(offset)
        while len(rows) + len(unusable) < most and offset - first < MOST_PORTION_BYTES:
            line = _next_line(file)
            if not line.length or not (line.is_whole or is_closed):
                is_last = is_closed
                break
            try:
                rows.append(_row(line, names, offset))
            except ValueError as problem:
                unusable.append(Unusable(offset, line.start, str(problem)))
            offset += line.length
    return Portion(rows=rows, unusable=unusable, offset=offset, is_last=is_last)


class _Line(NamedTuple):
    """`start` is all of the line, or so much of one that is too long; `length` is that of all of it."""

    start: bytes
    length: int
    is_whole: bool


def _next_line(file: BinaryIO) -> _Line:
    start = piece = file.readline(MOST_LINE_BYTES)
    length = len(start)
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(MOST_LINE_BYTES)
        length += len(piece)
    return _Line(start, length, bool(piece))


def _names(header: bytes) -> list[str] | None:
    """The fields of the lines. Raises NewerFormat."""
    try:
        content = json_text.read(header)
    except json_text.JsonInvalid:
        return None
    if not isinstance(content, dict):
        return None
    version, names = content.get("format", FORMAT), content.get("fields")
    if version not in range(1000):
        return None
    if version > FORMAT:
        raise NewerFormat(
            f"It has format {version}, and this version of Serving UI reads formats up to {FORMAT}. "
            "Update the worker to the version of the gateway."
        )
    is_known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_known else None


def _row(line: _Line, names: list[str] | None, offset: int) -> Row:
    """Raises ValueError with a sentence."""
    if names is None:
        raise ValueError("The header of the file cannot be read, so the fields have no names.")
    if line.length > len(line.start):
        raise ValueError(f"It is longer than {MOST_LINE_BYTES} bytes.")
    content = json_text.read(line.start, lenient=True)
    if not isinstance(content, list) or len(content) != 1 + len(names):
        raise ValueError(f"It is not a list of a number and {len(names)} values.")
    number, *values = content
    if type(number) is not int or not 0 < number <= MOST_NUMBER:
        raise ValueError(f"Its number is not a whole one from 1 to {MOST_NUMBER}.")
    return Row(number, dict(zip(names, values, strict=True)), offset, line.start)
