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
from typing import Any
from uuid import uuid4

from pydantic_core import from_json, to_json

from serving_ui.gateway import owned
from serving_ui.gateway.meter import Gauge
from serving_ui.gateway.record import Record

ENDING = ".records"
MOST_BYTES = 8 * 1024 * 1024
MOST_SECONDS = 600.0  # then a new file is begun, so that the old one can be cleared away
PAUSE_SECONDS = 1.0  # after a file could not be made
SILENCE_SECONDS = 60.0  # between two lines of the log about lost rows
_HEADER = to_json({"format": 1, "fields": Record._fields}) + b"\n"
_log = logging.getLogger("serving_ui.gateway")


class Spool:
    """The Ledger of one process. `lost` counts the rows that could not be written."""

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

    def note(self, record: Record) -> None:
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
        for path in self._folder.glob(f"*{ENDING}"):
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

    def stop(self) -> None:
        """No more records come. What was noted is in the file; without one nothing is left behind."""
        if self._file >= 0:
            os.close(self._file)  # the lock goes with it
        self._file, self._until = -1, 0.0

    def _begin(self) -> None:
        """A new file."""
        now = monotonic()
        if now < self._not_before:
            raise OSError("the spool's folder could not be written a moment ago")
        self.stop()
        self._not_before = now + PAUSE_SECONDS
        name = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid4().hex[:12]}{ENDING}"
        self._file = owned.create(self._folder / name)
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
                raise OSError("the disk is full")
        except OSError:
            self.stop()
            raise

    def _lose(self, record: Record, problem: Exception) -> None:
        self.lost += 1
        self._missing += 1
        if monotonic() >= self._silent_until:
            self._silent_until = monotonic() + SILENCE_SECONDS
            _log.error(
                "The usage of request %s could not be written to %s (%s); %d rows are lost so far. "
                "The answers are not affected. Make room there, or give this process the right to write.",
                record.request_id, self._folder, problem, self.lost,
            )  # fmt: skip


@dataclass(frozen=True)
class Portion:
    """Some lines of a file. `rows` are (number, values by field name); `offset` is where the next portion begins."""

    rows: list[tuple[int, dict[str, Any]]]
    offset: int
    garbled: int
    """Lines that cannot be read, because the disk was full or the machine lost its power."""
    is_last: bool
    """Nothing comes after it: the writer has ended or gone on to another file, and this is the end of it."""


def read(path: Path, *, offset: int, most: int) -> Portion:
    """The next lines of a file from `offset` on, at most so many. Raises OSError, such as when the file is gone."""
    with path.open("rb") as file:
        # Asked first: what is read afterwards is all that will ever be there.
        is_closed = owned.is_left(file.fileno())
        names = _names(file.readline())
        file.seek(max(offset, file.tell()))
        rows, garbled, offset, is_last = [], 0, file.tell(), False
        for _ in range(most):
            line = file.readline()
            if not line or not (line.endswith(b"\n") or is_closed):
                is_last = is_closed
                break
            offset += len(line)
            row = _row(line, names)
            garbled += row is None
            if row is not None:
                rows.append(row)
    return Portion(rows=rows, offset=offset, garbled=garbled, is_last=is_last)


def _names(header: bytes) -> list[str]:
    try:
        return list(from_json(header)["fields"])
    except (ValueError, KeyError, TypeError):
        return []


def _row(line: bytes, names: list[str]) -> tuple[int, dict[str, Any]] | None:
    try:
        number, *values = from_json(line)
        return int(number), dict(zip(names, values, strict=True))
    except (ValueError, TypeError):
        return None
