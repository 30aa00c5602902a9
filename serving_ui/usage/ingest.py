"""Takes what gateways have recorded into the database, each line exactly once.

The rows, what they add to the minutes and how far the file has been read are one transaction: killed at any moment, a worker
has done all of a portion or nothing. A file is deleted only after its last portion has been committed. Workers may do this at
the same time; the mark lets one through, so that ids of rows rise in the order in which they can be seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from django.db import DataError, IntegrityError, transaction

from serving_ui.gateway.spool import ENDING, Portion, read
from serving_ui.usage import aggregates, reading, writing
from serving_ui.usage.models import Mark, Request, SpoolFile

log = logging.getLogger(__name__)
PORTION = 1000
MOST_PORTIONS = 50  # of one call, so that a long absence of the worker is worked off in short steps
_MARK = "ingest"


def ingest(*, folder: Path, clock: Callable[[], datetime]) -> int:
    """Takes in what is new; the number of rows."""
    paths = sorted(folder.glob(f"*{ENDING}"))
    known = {file.name: file for file in SpoolFile.objects.filter(name__in=[path.name for path in paths])}
    taken = 0
    portions = iter(range(MOST_PORTIONS))
    for path in paths:
        file = known.get(path.name) or SpoolFile(name=path.name)
        try:
            taken += _take(path, file, portions, clock)
        except (DataError, IntegrityError, OSError, TypeError, ValueError):
            log.exception(
                "The file %s of the usage spool cannot be taken in. It is kept, the others go on.", path
            )
    return taken


def _take(path: Path, file: SpoolFile, portions: Iterator[int], clock: Callable[[], datetime]) -> int:
    """Portion by portion, until nothing is new. The file goes once the database has all of it."""
    taken = 0
    while not file.is_done:
        portion = _next(path, file)
        if portion is None or next(portions, None) is None:
            return taken
        stored = _store(portion, file, now=clock())
        if stored is None:
            return taken
        taken, file = taken + stored.rows - file.rows, stored
    path.unlink(missing_ok=True)
    return taken


def _next(path: Path, file: SpoolFile) -> Portion | None:
    """What the file has that the database does not."""
    try:
        portion = read(path, offset=file.offset, most=PORTION)
    except FileNotFoundError:  # another worker was quicker
        return None
    if portion.garbled:
        log.error("%d lines of %s cannot be read; the rows are lost.", portion.garbled, path)
    return portion if portion.rows or portion.garbled or portion.is_last else None


@transaction.atomic
def _store(portion: Portion, before: SpoolFile, *, now: datetime) -> SpoolFile | None:
    """All of it or nothing. None when another worker is at it, or was."""
    if not _is_alone():
        return None
    file, _is_new = SpoolFile.objects.get_or_create(name=before.name)
    if file.offset != before.offset or file.is_done:
        return None
    numbers, rows = [], []
    for number, values in portion.rows:
        if number > file.answered:
            file.answered = number
            numbers.append(number)
            rows.append(reading.request(values, now=now))
    if rows:
        # A request is recorded when it ends, so those that took long began before the ones above them.
        times = [row["at"] for row in rows]
        file.first_at = min([*times, file.first_at or times[0]])
        file.last_at = max([*times, file.last_at or times[0]])
    file.offset, file.is_done = portion.offset, portion.is_last
    file.rows += len(rows)
    file.save()
    writing.insert(
        Request,
        ("file", "number", *reading.NAMES),
        [
            (file.pk, number, *map(row.__getitem__, reading.NAMES))
            for number, row in zip(numbers, rows, strict=True)
        ],
    )
    aggregates.add(rows)
    return file


def _is_alone() -> bool:
    """Holds the mark until this transaction ends; False when another one does."""
    held = list(Mark.objects.select_for_update(skip_locked=True).filter(name=_MARK))
    return bool(held) or Mark.objects.get_or_create(name=_MARK)[1]
