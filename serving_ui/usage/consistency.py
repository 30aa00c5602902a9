"""Checks that usage is consistent: requests answered = rows = sum of the minutes.

The three figures have different sources: *answered* comes from the line numbers of the gateways' files, *rows* is counted in the
table, *minutes* is the sum of the aggregates. If some rows of a file have expired, its remaining rows count as answered.
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

BATCH_LINES = 10_000
_MODE = "transaction_mode"  # attribute of Django's SQLite connection
TOKENS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning")
_PARTS = ("cached", "written to a cache", "of reasoning")
_NOTHING = (0,) * (1 + len(TOKENS))


@dataclass
class ConsistencyReport:
    """Numbers of requests, and a sentence for each difference. `waiting`, `lost` and `set_aside` are parts of `answered`."""

    answered: int = 0
    waiting: int = 0
    rows: int = 0
    minutes: int = 0
    lost: int = 0
    set_aside: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_consistent(self) -> bool:
        return not self.differences and not self.lost and not self.set_aside


def check_consistency(*, folder: Path, now: datetime) -> ConsistencyReport:
    """Counts all in one database snapshot. Lines of the spool that are not ingested yet count as answered and waiting."""
    report = ConsistencyReport()
    with _repeatable_read():
        since = retention.complete_since(now=now)
        _compare_files(report, folder=folder, since=since)
        _compare_minutes(report, since=since)
    return report


@contextmanager
def _repeatable_read() -> Iterator[None]:
    """All reads in the block see the database at one moment. Takes no lock that writers would wait for."""
    connection.ensure_connection()  # which sets `transaction_mode`; the IMMEDIATE of the settings would block writers on SQLite
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


def _compare_files(report: ConsistencyReport, *, folder: Path, since: datetime) -> None:
    rows_since = Request.objects.filter(at__gte=since)
    counted = dict(rows_since.values_list("file").annotate(n=Count("pk")).values_list("file", "n"))
    old = dict(SpoolFile.objects.filter(first_at__lt=since).values_list("name", "pk"))
    report.rows = report.answered = sum(counted.get(pk, 0) for pk in old.values())
    known = {file.name: file for file in SpoolFile.objects.exclude(first_at__lt=since)}
    paths = [path for path in _list_files(folder, report) if path.name not in old]
    waiting = {path.name: _count_waiting(path, known.get(path.name), report) for path in paths}
    for name in sorted(known.keys() | waiting.keys()):
        file = known.get(name) or SpoolFile(name=name)
        lines, highest = waiting.get(name, (0, 0))
        rows, seen = counted.get(file.pk, 0), file.rows + file.aside + lines
        answered = max(file.answered, highest, seen)  # the numbers of the last lines may be unreadable
        report.answered += answered
        report.waiting += lines
        report.rows += rows
        report.set_aside += file.aside
        report.lost += answered - seen
        if rows != file.rows:
            report.differences.append(f"{name}: {file.rows} rows were stored and {rows} are in the table.")


def _list_files(folder: Path, report: ConsistencyReport) -> list[Path]:
    try:
        return files(folder)
    except OSError as problem:
        report.differences.append(
            f"{folder} cannot be listed ({problem.strerror}). Give the worker's user the right to read and write it."
        )
        return []


def _count_waiting(path: Path, file: SpoolFile | None, report: ConsistencyReport) -> tuple[int, int]:
    """The number of lines that are not ingested yet, and the highest number of a line."""
    lines, highest, offset = 0, 0, file.offset if file else 0
    while True:
        try:
            batch = read(path, offset=offset, max_lines=BATCH_LINES)
        except FileNotFoundError:
            return lines, highest
        except OSError as problem:
            report.differences.append(
                f"{path} cannot be read ({problem.strerror}). Give the worker's user the right to read and delete it."
            )
            return lines, highest
        except NewerFormat as problem:
            report.differences.append(f"{path} cannot be read. {problem}")
            return lines, highest
        lines += len(batch.rows) + len(batch.invalid)
        highest = max([highest, *(row.number for row in batch.rows)])
        if batch.offset == offset or batch.is_last:
            return lines, highest
        offset = batch.offset


def _compare_minutes(report: ConsistencyReport, *, since: datetime) -> None:
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
    report.minutes = sum(requests for requests, *_tokens in minutes.values())
    for key in sorted(rows.keys() | minutes.keys()):
        counted, summed = rows.get(key, _NOTHING), minutes.get(key, _NOTHING)
        if counted != summed:
            minute, endpoint, entity, principal = key
            report.differences.append(
                f"{minute:%Y-%m-%d %H:%M} endpoint {endpoint or '?'} entity {entity or '-'} principal "
                f"{principal or '-'}: the rows have {counted[0]} requests and {_tokens(counted, ' tokens')}, "
                f"the minute {summed[0]} and {_tokens(summed)}."
            )


def _tokens(figures: tuple[int, ...], unit: str = "") -> str:
    _requests, tokens_in, tokens_out, *parts = figures
    parts_text = ", ".join(f"{count} {name}" for name, count in zip(_PARTS, parts, strict=True) if count)
    return f"{tokens_in + tokens_out}{unit}" + (f" (of these {parts_text})" if parts_text else "")
