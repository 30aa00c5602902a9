"""Takes what gateways have recorded into the database, each line exactly once.

The rows, what they add to the minutes and how far the file has been read are one transaction: killed at any moment, a worker
has done all of a portion or nothing. A file is deleted only after its last portion has been committed. Workers may do this at
the same time; the mark lets one through, so that ids of rows rise in the order in which they can be seen.

A line that cannot become a row, or that the database refuses, is set aside and counted; a file that cannot be read is left where
it is. Neither holds up the others.
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

from serving_ui.gateway.spool import MOST_NUMBER, NewerFormat, Portion, Row, Unusable, files, read
from serving_ui.usage import aggregates, reading, set_aside, writing
from serving_ui.usage.models import Mark, Request, SpoolFile

log = logging.getLogger(__name__)
PORTION = 1000
MOST_PORTIONS = 50  # of one call, so that a long absence of the worker is worked off in short steps
MOST_GAP = 1000  # numbers missing between two lines of a file; many may be missing before the first only
SILENCE_SECONDS = 60.0  # between two lines of the log about the same file
_MARK = "ingest"
_REFUSED = (
    DataError,
    ValueError,
    TypeError,
    ArithmeticError,
)  # what a value may do to Python or the database
_told: dict[str, float] = {}  # monotonic, by the name of a file


@dataclass
class Intake:
    """What one call did: how many rows it stored, and the names of the files that it could not take in."""

    rows: int = 0
    failed: list[str] = field(default_factory=list)


def ingest(*, folder: Path, clock: Callable[[], datetime]) -> Intake:
    """Takes in what is new. Raises DatabaseError when the database can take nothing, and OSError when the folder cannot be listed."""
    done = Intake()
    portions = iter(range(MOST_PORTIONS))
    for path in files(folder):
        try:
            done.rows += _take(path, portions, clock)
        except (OSError, NewerFormat, *_REFUSED) as problem:
            done.failed.append(path.name)
            _tell(path, problem)
    for name in _told.keys() - set(done.failed):
        _told.pop(name, None)
    set_aside.forget(folder, before=clock() - timedelta(days=settings.USAGE_ROW_DAYS))
    return done


def _tell(path: Path, problem: Exception) -> None:
    if monotonic() - _told.get(path.name, -SILENCE_SECONDS) >= SILENCE_SECONDS:
        _told[path.name] = monotonic()
        log.error(
            "The file %s of the usage spool cannot be taken in (%s). It is kept, the others go on.",
            path,
            problem,
        )


def _take(path: Path, portions: Iterator[int], clock: Callable[[], datetime]) -> int:
    """Portion by portion, until nothing is new. The file goes once the database has all of it. Returns the rows stored."""
    file = SpoolFile.objects.filter(name=path.name).first() or SpoolFile(name=path.name)
    taken = 0
    while not file.is_done:
        try:
            portion = read(path, offset=file.offset, most=PORTION)
        except FileNotFoundError:  # another worker was quicker
            return taken
        is_new = portion.rows or portion.unusable or portion.is_last
        if not is_new or next(portions, None) is None:
            return taken
        stored = _store(portion, file, folder=path.parent, now=clock())
        if stored is None:
            return taken
        taken, file = taken + stored.rows - file.rows, stored
    path.unlink(missing_ok=True)
    return taken


@transaction.atomic
def _store(portion: Portion, before: SpoolFile, *, folder: Path, now: datetime) -> SpoolFile | None:
    """All of it or nothing. None when another worker is at it, or was."""
    if not _is_alone():
        return None
    file, _is_new = SpoolFile.objects.get_or_create(name=before.name)
    if file.offset != before.offset or file.is_done:
        return None
    lines, unusable = _usable(portion, file, now=now)
    refused = _insert(lines, file, now=now)
    unusable += [_unusable(row, problem) for row, problem in refused]
    gone = {row.offset for row, _problem in refused}
    if times := [line.values["at"] for line in lines if line.row.offset not in gone] or [now] * bool(
        unusable
    ):
        # A request is recorded when it ends, so those that took long began before the ones above them.
        file.first_at = min([*times, file.first_at or times[0]])
        file.last_at = max([*times, file.last_at or times[0]])
    file.offset, file.is_done = portion.offset, portion.is_last
    file.rows += len(lines) - len(refused)
    file.aside += len(unusable)
    file.save()
    if unusable:
        set_aside.keep(folder, file.name, unusable)
    return file


@dataclass(frozen=True)
class _Line:
    """A line of the spool, and the values of its row."""

    row: Row
    values: Mapping[str, Any]


def _usable(portion: Portion, file: SpoolFile, *, now: datetime) -> tuple[list[_Line], list[Unusable]]:
    """The lines that have a right number and become rows, and the others. The file notes the numbers."""
    lines, unusable = [], list(portion.unusable)
    most_missing = MOST_GAP + file.aside + len(unusable)
    for row in portion.rows:
        try:
            _check_number(row.number, file, most_missing=most_missing)
            lines.append(_Line(row, reading.request(row.values, now=now)))
        except _REFUSED as problem:
            unusable.append(_unusable(row, problem))
        else:
            file.answered = row.number
    return lines, unusable


def _check_number(number: int, file: SpoolFile, *, most_missing: int) -> None:
    """A number that is wrong would make the lines after it pass for old ones. Raises ValueError with a sentence."""
    if number <= file.answered:
        raise ValueError(f"Its number is {number}, and number {file.answered} came before it.")
    if file.answered and number > file.answered + most_missing:
        raise ValueError(f"Its number is {number}, far beyond {file.answered}, the one before it.")


def _unusable(row: Row, problem: Exception) -> Unusable:
    return Unusable(row.offset, row.line, str(problem) or type(problem).__name__)


def _insert(lines: list[_Line], file: SpoolFile, *, now: datetime) -> list[tuple[Row, Exception]]:
    """Stores and adds up the rows, but for those that the database refuses, which are found by halving and returned."""
    if not lines:
        return []
    try:
        with transaction.atomic():
            _add(lines, file)
    except _REFUSED as problem:
        if len(lines) > 1:
            middle = len(lines) // 2
            return [*_insert(lines[:middle], file, now=now), *_insert(lines[middle:], file, now=now)]
        _check_database(file, now=now)
        return [(lines[0].row, problem)]
    return []


def _check_database(file: SpoolFile, *, now: datetime) -> None:
    """Raises what the database says against a row that says nothing: then a refusal is not the fault of a line."""
    with transaction.atomic():
        _add([_Line(Row(MOST_NUMBER, {}, 0, b""), reading.request({}, now=now))], file)
        transaction.set_rollback(True)


def _add(lines: list[_Line], file: SpoolFile) -> None:
    writing.insert(
        Request,
        ("file", "number", *reading.NAMES),
        [(file.pk, line.row.number, *map(line.values.__getitem__, reading.NAMES)) for line in lines],
    )
    aggregates.add([line.values for line in lines])


def _is_alone() -> bool:
    """Holds the mark until this transaction ends; False when another one does."""
    held = list(Mark.objects.select_for_update(skip_locked=True).filter(name=_MARK))
    return bool(held) or Mark.objects.get_or_create(name=_MARK)[1]
