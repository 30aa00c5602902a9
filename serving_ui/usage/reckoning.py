"""Whether usage adds up: requests answered = rows = what the minutes come to, and where not.

Each figure is counted from another source. *Answered* is what the gateways numbered in their files, *rows* is counted in the
table, *minutes* are added up. Of a file that is older than the oldest rows a part is gone: what is left of it counts as answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Count, Sum
from django.db.models.functions import TruncMinute

from serving_ui.gateway.spool import NewerFormat, files, read
from serving_ui.usage import retention
from serving_ui.usage.models import Minute, Request, SpoolFile

MOST_LINES = 10_000
_MODE = "transaction_mode"
TOKENS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning")
_PARTS = ("cached", "written to a cache", "of reasoning")
_NOTHING = (0,) * (1 + len(TOKENS))


@dataclass
class Reckoning:
    """The figures, and a sentence for each thing that does not add up."""

    answered: int = 0
    waiting: int = 0
    rows: int = 0
    minutes: int = 0
    lost: int = 0
    aside: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        return not self.differences and not self.lost and not self.aside


def reckon(*, folder: Path, now: datetime) -> Reckoning:
    """Counts everything as it is at one moment. What waits in the spool is answered, and not yet in the tables."""
    found = Reckoning()
    with _one_moment():
        since = retention.kept_since(now=now)
        _compare_files(found, folder=folder, since=since)
        _compare_minutes(found, since=since)
    return found


@contextmanager
def _one_moment() -> Iterator[None]:
    """What is read inside is as it was at one moment, and nobody waits for it, however long it takes."""
    connection.ensure_connection()  # which sets the mode of SQLite's transactions: in ours nobody else could write
    mode = getattr(connection, _MODE, None)
    setattr(connection, _MODE, None)
    is_outermost = not connection.in_atomic_block
    try:
        with transaction.atomic():
            if is_outermost and connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
    finally:
        setattr(connection, _MODE, mode)


def _compare_files(found: Reckoning, *, folder: Path, since: datetime) -> None:
    kept = Request.objects.filter(at__gte=since)
    counted = dict(kept.values_list("file").annotate(n=Count("pk")).values_list("file", "n"))
    old = dict(SpoolFile.objects.filter(first_at__lt=since).values_list("name", "pk"))
    found.rows = found.answered = sum(counted.get(pk, 0) for pk in old.values())
    known = {file.name: file for file in SpoolFile.objects.exclude(first_at__lt=since)}
    paths = [path for path in _listed(folder, found) if path.name not in old]
    waiting = {path.name: _waiting(path, known.get(path.name), found) for path in paths}
    for name in sorted(known.keys() | waiting.keys()):
        file = known.get(name) or SpoolFile(name=name)
        lines, highest = waiting.get(name, (0, 0))
        rows, seen = counted.get(file.pk, 0), file.rows + file.aside + lines
        answered = max(file.answered, highest, seen)  # the last lines may have no number that can be read
        found.answered += answered
        found.waiting += lines
        found.rows += rows
        found.aside += file.aside
        found.lost += answered - seen
        if rows != file.rows:
            found.differences.append(f"{name}: {file.rows} rows were taken in and {rows} are in the table.")


def _listed(folder: Path, found: Reckoning) -> list[Path]:
    try:
        return files(folder)
    except OSError as problem:
        found.differences.append(
            f"{folder} cannot be listed ({problem.strerror}). Give the worker's user the right to read and write it."
        )
        return []


def _waiting(path: Path, file: SpoolFile | None, found: Reckoning) -> tuple[int, int]:
    """Lines that are not in the database yet, and the highest number of a row."""
    lines, highest, offset = 0, 0, file.offset if file else 0
    while True:
        try:
            portion = read(path, offset=offset, most=MOST_LINES)
        except FileNotFoundError:
            return lines, highest
        except OSError as problem:
            found.differences.append(
                f"{path} cannot be read ({problem.strerror}). Give the worker's user the right to read and delete it."
            )
            return lines, highest
        except NewerFormat as problem:
            found.differences.append(f"{path} cannot be read. {problem}")
            return lines, highest
        lines += len(portion.rows) + len(portion.unusable)
        highest = max([highest, *(row.number for row in portion.rows)])
        if portion.offset == offset or portion.is_last:
            return lines, highest
        offset = portion.offset


def _compare_minutes(found: Reckoning, *, since: datetime) -> None:
    by = ("minute", "endpoint_id", "entity", "principal_id")
    from_rows = (
        Request.objects.filter(at__gte=since)
        .annotate(minute=TruncMinute("at"))
        .values_list(*by)
        .annotate(n=Count("pk"), **{f"all_{name}": Sum(name) for name in TOKENS})
    )
    stored = Minute.objects.filter(minute__gte=since).values_list(*by, "requests", *TOKENS)
    rows = {row[: len(by)]: row[len(by) :] for row in from_rows}
    minutes = {row[: len(by)]: row[len(by) :] for row in stored}
    found.minutes = sum(requests for requests, *_tokens in minutes.values())
    for key in sorted(rows.keys() | minutes.keys()):
        counted, summed = rows.get(key, _NOTHING), minutes.get(key, _NOTHING)
        if counted != summed:
            minute, endpoint, entity, principal = key
            found.differences.append(
                f"{minute:%Y-%m-%d %H:%M} endpoint {endpoint or '?'} entity {entity or '-'} principal "
                f"{principal or '-'}: rows say {counted[0]} requests and {_tokens(counted, ' tokens')}, "
                f"the minute {summed[0]} and {_tokens(summed)}."
            )


def _tokens(figures: tuple[int, ...], unit: str = "") -> str:
    _requests, given, said, *parts = figures
    of_these = ", ".join(f"{count} {name}" for name, count in zip(_PARTS, parts, strict=True) if count)
    return f"{given + said}{unit}" + (f" (of these {of_these})" if of_these else "")
