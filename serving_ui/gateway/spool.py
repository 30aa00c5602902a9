"""The usage spool: append-only files of records on local disk, written by a gateway process, drained into the database by the worker.

A record is one line, written with one system call before the last byte of its answer is sent, so it survives the end of this
process and an unavailable database. The first line of a file names the fields of the others, so that a worker may be older or newer
than the gateway. Each line begins with its number in the file: a gap is a lost row, so lost rows can always be counted.

The process holds a lock on the file that it writes. A file whose lock is free gets no more lines, however its writer ended.

Measured on a local disk: 3 us and 250 bytes a record. Lines are not synced: they survive a killed process, but not a power failure.
On a full disk the row is lost, counted and logged, never the answer; the file is closed, and the worker deletes it once it is
processed, which makes room for the next one.
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
SET_ASIDE = "set-aside.jsonl"  # in the same folder: lines that the worker could not store
MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_FILE_SECONDS = 600.0  # then a new file is begun, so that the old one can be deleted
REOPEN_SECONDS = 1.0  # after a file could not be created
LOG_INTERVAL_SECONDS = 60.0  # between two log lines about lost rows
LOSS_REPORTED_SECONDS = 600.0  # how long after the last lost row /readyz reports it
FORMAT = 1
MAX_LINE_BYTES = 256 * 1024  # callers can add at most 50 kB to a record
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_NUMBER = 2**31 - 1  # the database column's limit
_HEADER = to_json({"format": FORMAT, "fields": Record._fields}) + b"\n"
_log = logging.getLogger("serving_ui.gateway")


class _RetryLater(OSError):
    """Too soon after a failure to try to create a file again."""


class Spool:
    """The Recorder that writes the files of one process. `lost` counts the rows that could not be written."""

    def __init__(
        self,
        folder: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_file_seconds: float = MAX_FILE_SECONDS,
    ) -> None:
        self.lost = 0
        self._folder = folder
        self._max_bytes = max_file_bytes
        self._max_seconds = max_file_seconds
        self._file = -1
        self._number = 0  # of the newest row of the file, written or lost
        self._size = 0
        self._file_ends_at = 0.0  # monotonic; 0: begin a file with the first record
        self._lost_since_written = 0  # a count of rows
        self._reopen_at = 0.0  # monotonic
        self._log_again_at = 0.0
        self._problem = ""  # why the last row was lost
        self._lost_at = 0.0

    def record(self, record: Record) -> None:
        """Write the record. Never raises: the answer is more important than its row."""
        try:
            if self._size >= self._max_bytes or monotonic() >= self._file_ends_at:
                self._open_file()
            self._number += 1
            line = b"%b\n" % to_json((self._number, *record))
            self._write(line)
            self._size += len(line)
            self._lost_since_written = 0
        except (OSError, ValueError) as problem:
            self._count_lost(record, problem)

    def gauges(self) -> Iterable[Gauge]:
        """The metrics of the spool."""
        waiting = 0
        with suppress(OSError):
            for path in files(self._folder):
                with suppress(FileNotFoundError):  # the worker has just deleted it
                    waiting += path.stat().st_size
        yield Gauge(
            "serving_ui_spool_bytes",
            "Usage on this machine's disk; the worker deletes what it has stored.",
            waiting,
        )
        yield Gauge(
            "serving_ui_usage_rows_lost", "Rows that this process could not write to the spool.", self.lost
        )

    def check_health(self) -> str | None:
        """A sentence if rows are being lost or were lost recently."""
        if not self.lost or monotonic() - self._lost_at > LOSS_REPORTED_SECONDS:
            return None
        so_far = f"{self.lost} rows of this process are lost"
        if self._lost_since_written:
            return (
                f"Usage cannot be written to the data folder ({self._problem}): {so_far} so far. The answers are not affected. "
                "Make room there, or give the gateway's user the right to write."
            )
        return (
            f"Usage could not be written to the data folder for a while ({self._problem}): {so_far}. It can be written again. "
            "`manage.py check_usage` counts what is missing."
        )

    def stop(self) -> None:
        """Close the file, if there is one."""
        if self._file >= 0:
            os.close(self._file)  # which releases the lock
        self._file, self._file_ends_at = -1, 0.0

    def _open_file(self) -> None:
        """Close the file and create the next one. Raises OSError."""
        now = monotonic()
        if now < self._reopen_at:
            raise _RetryLater("the spool's folder could not be written a moment ago")
        self.stop()
        self._size, self._reopen_at = 0, now + REOPEN_SECONDS
        name = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid4().hex[:12]}{ENDING}"
        self._file = lockfiles.create(self._folder / name)
        try:
            self._write(_HEADER)
        except OSError:
            (self._folder / name).unlink(missing_ok=True)
            raise
        self._size, self._file_ends_at, self._reopen_at = len(_HEADER), now + self._max_seconds, 0.0
        self._number = (
            self._lost_since_written
        )  # a gap in the numbers of this file shows the rows lost before it

    def _write(self, line: bytes) -> None:
        """Write the whole line, or close the file."""
        try:
            if os.write(self._file, line) != len(line):
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)  # so that no part of the line is read as a row
                raise OSError("the disk is full")
        except OSError:
            self.stop()
            raise

    def _count_lost(self, record: Record, problem: Exception) -> None:
        self.lost += 1
        self._lost_since_written += 1
        self._lost_at = monotonic()
        if not isinstance(problem, OSError):
            self._problem = "it cannot be written as JSON"
        elif not isinstance(problem, _RetryLater):
            self._problem = (
                problem.strerror or str(problem)
            ).lower()  # without the path: /readyz shows it without a token
        if monotonic() >= self._log_again_at:
            self._log_again_at = monotonic() + LOG_INTERVAL_SECONDS
            _log.error(
                "The usage of request %s could not be written to %s (%s); %d rows are lost so far. "
                "The answers are not affected. Make room there, or give this process the right to write.",
                record.request_id, self._folder, problem, self.lost,
            )  # fmt: skip


def files(folder: Path) -> list[Path]:
    """The spool's files, sorted by name; none if the folder does not exist. Raises OSError when it cannot be listed."""
    try:
        # A hidden file is not locked by its writer yet.
        return sorted(
            path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith(".")
        )
    except FileNotFoundError:
        return []


class Row(NamedTuple):
    """A valid line. `values` are by field name."""

    number: int
    values: dict[str, Any]
    offset: int
    line: bytes


class InvalidLine(NamedTuple):
    """An invalid line. `line` may be only its start; `reason` is a sentence."""

    offset: int
    line: bytes
    reason: str


@dataclass(frozen=True)
class Batch:
    """Consecutive lines of a file. `offset` is where the next batch begins."""

    rows: list[Row]
    invalid: list[InvalidLine]
    offset: int
    is_last: bool
    """Whether the batch reaches the end of the file and the writer has closed it."""


class NewerFormat(Exception):
    """The file was written by a newer version in a format that this one cannot read. The message is a sentence."""


def read(path: Path, *, offset: int, max_lines: int) -> Batch:
    """At most `max_lines` lines of a file from `offset` on. Raises OSError (the file may have been deleted) and NewerFormat."""
    with path.open("rb") as file:
        # Checked before reading: what is read of a closed file is complete.
        is_closed = lockfiles.is_abandoned(file.fileno())
        header = _next_line(file)
        if not header.is_complete and not is_closed:  # the writer is about to write it
            return Batch(rows=[], invalid=[], offset=0, is_last=False)
        names = _field_names(header.start)
        rows: list[Row] = []
        invalid = []
        if names is None and offset == 0 and header.length:
            invalid.append(InvalidLine(0, header.start, "The header of the file cannot be read."))
        first = offset = max(offset, header.length)
        is_last = False
        file.seek(offset)
        while len(rows) + len(invalid) < max_lines and offset - first < MAX_BATCH_BYTES:
            line = _next_line(file)
            if not line.length or not (line.is_complete or is_closed):
                is_last = is_closed
                break
            try:
                rows.append(_parse_row(line, names, offset))
            except ValueError as problem:
                invalid.append(InvalidLine(offset, line.start, str(problem)))
            offset += line.length
    return Batch(rows=rows, invalid=invalid, offset=offset, is_last=is_last)


class _Line(NamedTuple):
    """`start` is the line, or its first MAX_LINE_BYTES; `length` is the length of the whole line."""

    start: bytes
    length: int
    is_complete: bool


def _next_line(file: BinaryIO) -> _Line:
    start = piece = file.readline(MAX_LINE_BYTES)
    length = len(start)
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(MAX_LINE_BYTES)
        length += len(piece)
    return _Line(start, length, bool(piece))


def _field_names(header: bytes) -> list[str] | None:
    """The names of the fields in the header; None for an invalid header. Raises NewerFormat."""
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


def _parse_row(line: _Line, names: list[str] | None, offset: int) -> Row:
    """Raises ValueError, whose message is a sentence."""
    if names is None:
        raise ValueError("The header of the file cannot be read, so the fields have no names.")
    if line.length > len(line.start):
        raise ValueError(f"It is longer than {MAX_LINE_BYTES} bytes.")
    content = json_text.read(line.start, lenient=True)
    if not isinstance(content, list) or len(content) != 1 + len(names):
        raise ValueError(f"It is not a list of a number and {len(names)} values.")
    number, *values = content
    if type(number) is not int or not 0 < number <= MAX_NUMBER:
        raise ValueError(f"Its number is not a whole number from 1 to {MAX_NUMBER}.")
    return Row(number, dict(zip(names, values, strict=True)), offset, line.start)
