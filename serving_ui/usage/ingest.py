"""Stores the lines of the gateways' spool files in the database, each exactly once.

The rows of a batch, their sums and the new offset of the file are one transaction, so a worker that crashes has stored all of the
batch or nothing. A file is deleted after its last batch was committed. A lock lets one worker at a time store a batch, so that
ids of rows ascend in commit order.

A line that cannot become a row, or that the database rejects, is set aside and counted. A file that cannot be read stays where it
is. Neither blocks other lines and files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import DataError, transaction

from serving_ui.gateway.spool import MAX_NUMBER, Batch, InvalidLine, NewerFormat, Row, files, read
from serving_ui.usage import aggregates, bulk_sql, row_values, set_aside
from serving_ui.usage.models import Mark, Request, SpoolFile

log = logging.getLogger(__name__)
BATCH_LINES = 1000
MAX_BATCHES = 50  # in one call, which keeps tasks short after a long absence of the worker
MAX_GAP = 1000  # numbers missing between two lines of a file; before the first line any number may be missing
LOG_SECONDS = 60.0  # between two log messages about the same file
_MARK = "ingest"
_VALUE_ERRORS = (
    DataError,
    ValueError,
    TypeError,
    ArithmeticError,
)  # raised by Python or the database for a value
_logged_at: dict[str, float] = {}  # monotonic, by file name


@dataclass
class IngestResult:
    """The number of rows stored, and the names of the files that could not be ingested."""

    rows: int = 0
    failed: list[str] = field(default_factory=list)


def ingest(*, folder: Path, clock: Callable[[], datetime]) -> IngestResult:
    """Stores all new lines. Raises DatabaseError if the database accepts nothing, and OSError if the folder cannot be listed."""
    result = IngestResult()
    batches = iter(range(MAX_BATCHES))
    for path in files(folder):
        try:
            result.rows += _ingest_file(path, batches, clock)
        except (OSError, NewerFormat, *_VALUE_ERRORS) as problem:
            result.failed.append(path.name)
            _log_failure(path, problem)
    for name in _logged_at.keys() - set(result.failed):
        _logged_at.pop(name, None)
    set_aside.delete_expired(folder, before=clock() - timedelta(days=settings.USAGE_ROW_DAYS))
    return result


def _log_failure(path: Path, problem: Exception) -> None:
    if monotonic() - _logged_at.get(path.name, -LOG_SECONDS) >= LOG_SECONDS:
        _logged_at[path.name] = monotonic()
        log.error(
            "The file %s of the usage spool cannot be read (%s). It stays there; the other files are processed.",
            path,
            problem,
        )


def _ingest_file(path: Path, batches: Iterator[int], clock: Callable[[], datetime]) -> int:
    """Stores batches until none is new, and deletes a file that was stored completely. Returns the number of rows stored."""
    file = SpoolFile.objects.filter(name=path.name).first() or SpoolFile(name=path.name)
    rows = 0
    while not file.is_done:
        try:
            batch = read(path, offset=file.offset, max_lines=BATCH_LINES)
        except FileNotFoundError:  # another worker has stored and deleted it
            return rows
        is_new = batch.rows or batch.invalid or batch.is_last
        if not is_new or next(batches, None) is None:
            return rows
        stored = _store(batch, file, folder=path.parent, now=clock())
        if stored is None:
            return rows
        rows, file = rows + stored.rows - file.rows, stored
    path.unlink(missing_ok=True)
    return rows


@transaction.atomic
def _store(batch: Batch, before: SpoolFile, *, folder: Path, now: datetime) -> SpoolFile | None:
    """Stores a batch in one transaction. Returns None if another worker is storing, or has stored this batch."""
    if not _lock():
        return None
    file, _is_new = SpoolFile.objects.get_or_create(name=before.name)
    if file.offset != before.offset or file.is_done:
        return None
    lines, invalid = _split_valid(batch, file, now=now)
    rejected = _insert(lines, file, now=now)
    invalid += [_invalid_line(row, problem) for row, problem in rejected]
    rejected_offsets = {row.offset for row, _problem in rejected}
    if times := [line.values["at"] for line in lines if line.row.offset not in rejected_offsets] or [
        now
    ] * bool(invalid):
        # Lines are ordered by the end of their requests, so the start times of long requests are out of order.
        file.first_at = min([*times, file.first_at or times[0]])
        file.last_at = max([*times, file.last_at or times[0]])
    file.offset, file.is_done = batch.offset, batch.is_last
    file.rows += len(lines) - len(rejected)
    file.aside += len(invalid)
    file.save()
    if invalid:
        set_aside.append(folder, file.name, invalid)
    return file


@dataclass(frozen=True)
class _Line:
    """A line of the spool with the values of its row."""

    row: Row
    values: Mapping[str, Any]


def _split_valid(batch: Batch, file: SpoolFile, *, now: datetime) -> tuple[list[_Line], list[InvalidLine]]:
    """Splits a batch into lines that can be stored and lines that cannot. Sets `file.answered`."""
    lines, invalid = [], list(batch.invalid)
    max_gap = MAX_GAP + file.aside + len(invalid)
    for row in batch.rows:
        try:
            _check_number(row.number, file, max_gap=max_gap)
            lines.append(_Line(row, row_values.row_values(row.values, now=now)))
        except _VALUE_ERRORS as problem:
            invalid.append(_invalid_line(row, problem))
        else:
            file.answered = row.number
    return lines, invalid


def _check_number(number: int, file: SpoolFile, *, max_gap: int) -> None:
    """Raises ValueError with a sentence. A wrong number, if accepted, would make the following lines look like old ones."""
    if number <= file.answered:
        raise ValueError(f"Its number is {number}, and number {file.answered} came before it.")
    if file.answered and number > file.answered + max_gap:
        raise ValueError(f"Its number is {number}, far beyond {file.answered}, the one before it.")


def _invalid_line(row: Row, problem: Exception) -> InvalidLine:
    return InvalidLine(row.offset, row.line, str(problem) or type(problem).__name__)


def _insert(lines: list[_Line], file: SpoolFile, *, now: datetime) -> list[tuple[Row, Exception]]:
    """Stores the rows and adds their sums. Returns the rows that the database rejects, which are found by bisection."""
    if not lines:
        return []
    try:
        with transaction.atomic():
            _add(lines, file)
    except _VALUE_ERRORS as problem:
        if len(lines) > 1:
            middle = len(lines) // 2
            return [*_insert(lines[:middle], file, now=now), *_insert(lines[middle:], file, now=now)]
        _check_database(file, now=now)
        return [(lines[0].row, problem)]
    return []


def _check_database(file: SpoolFile, *, now: datetime) -> None:
    """Inserts a row of defaults and rolls it back. Raises if the database rejects even that: then no line is at fault."""
    with transaction.atomic():
        _add([_Line(Row(MAX_NUMBER, {}, 0, b""), row_values.row_values({}, now=now))], file)
        transaction.set_rollback(True)


def _add(lines: list[_Line], file: SpoolFile) -> None:
    bulk_sql.insert_rows(
        Request,
        ("file", "number", *row_values.COLUMNS),
        [(file.pk, line.row.number, *map(line.values.__getitem__, row_values.COLUMNS)) for line in lines],
    )
    aggregates.add_requests([line.values for line in lines])


def _lock() -> bool:
    """Locks the row of this task's Mark until the transaction ends. Returns False if another transaction has locked it."""
    locked = list(Mark.objects.select_for_update(skip_locked=True).filter(name=_MARK))
    return bool(locked) or Mark.objects.get_or_create(name=_MARK)[1]
