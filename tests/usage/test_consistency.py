"""The command `check_usage`, which compares requests, rows and aggregates."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from serving_ui.gateway.spool import ENDING, SET_ASIDE
from serving_ui.lib import clock
from serving_ui.usage import consistency
from serving_ui.usage.models import Minute, Request
from serving_ui.usage.retention import delete_expired
from tests.gateway.test_spool import room_for
from tests.usage.conftest import Gateway

IngestAll = Callable[[], int]


@pytest.fixture
def check(folder: Path, settings: Any, db: None) -> Callable[[], str]:
    """The output of the command. Raises if it finds differences."""
    settings.SPOOL_FOLDER = folder

    def run() -> str:
        output = StringIO()
        try:
            call_command("check_usage", stdout=output)
        except CommandError as error:
            raise CommandError(output.getvalue() + str(error)) from None
        return output.getvalue()

    return run


def figures(output: str) -> list[int]:
    """The counts of the output: answered, waiting, lost, set aside, rows, requests in minutes."""
    return [int(line.split()[-1].replace(",", "")) for line in output.splitlines()[:6]]


def test_an_empty_database_is_consistent(check: Callable[[], str]):
    assert figures(check()) == [0, 0, 0, 0, 0, 0]


def test_records_still_in_the_spool_are_counted_as_answered(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str]
):
    gateway.record_requests("a", "b", "c")
    assert figures(check()) == [3, 3, 0, 0, 0, 0]
    ingest_all()
    gateway.record_requests("d")
    assert figures(check()) == [4, 1, 0, 0, 3, 3]
    gateway.stop()
    ingest_all()
    assert figures(check()) == [4, 0, 0, 0, 4, 4]


@pytest.mark.django_db(transaction=True)
def test_rows_can_be_written_while_the_command_counts(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    gateway.record_requests("a", "b")
    ingest_all()
    compare = consistency._compare_minutes

    def write() -> None:
        Minute.objects.update(requests=9)
        connection.close()

    def write_and_compare(*args: Any, **kwargs: Any) -> None:
        with ThreadPoolExecutor(1) as somebody:
            somebody.submit(write).result()
        compare(*args, **kwargs)

    monkeypatch.setattr(consistency, "_compare_minutes", write_and_compare)
    connection.close()
    assert figures(check()) == [2, 0, 0, 0, 2, 2], "as it was when the counting began"
    assert Minute.objects.get().requests == 9


def test_a_missing_row_is_reported(gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str]):
    gateway.record_requests("a", "b")
    ingest_all()
    Request.objects.filter(request_id="a").delete()
    with pytest.raises(CommandError, match="2 rows were stored and 1 are in the table"):
        check()


def test_a_minute_with_too_many_requests_is_named(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str]
):
    gateway.record_requests("a", "b")
    ingest_all()
    Minute.objects.update(requests=3)
    with pytest.raises(CommandError, match="the rows have 2 requests and 16 tokens, the minute 3 and 16"):
        check()


@pytest.mark.parametrize("part", ["tokens_in", "tokens_cached", "tokens_cache_written", "tokens_reasoning"])
def test_a_minute_with_other_tokens_is_named(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str], part: str
):
    gateway.record_requests(
        "a", tokens_in=900, tokens_cached=600, tokens_cache_written=200, tokens_reasoning=4
    )
    ingest_all()
    check()
    Minute.objects.update(**{part: 7})
    rows = re.escape("905 tokens (of these 600 cached, 200 written to a cache, 4 of reasoning), the minute")
    with pytest.raises(CommandError, match=rf"the rows have 1 requests and {rows} 1 and (12|905) \(of these"):
        check()


def test_rows_lost_to_a_full_disk_are_counted(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str], folder: Path
):
    gateway.record_requests("a")
    with room_for(next(folder.iterdir()).stat().st_size):
        gateway.record_requests("swallowed")
    gateway.record_requests("b")
    ingest_all()
    with pytest.raises(CommandError, match="1 rows were not written"):
        check()


def test_lines_that_were_set_aside_are_counted_and_their_file_is_named(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str], folder: Path
):
    gateway.record_requests("a")
    gateway.stop()
    (path,) = folder.iterdir()
    path.write_text(path.read_text() + "[2,1e400]\n")
    ingest_all()
    with pytest.raises(CommandError, match="is inconsistent") as error:
        check()
    assert figures(str(error.value)) == [2, 0, 0, 1, 1, 1]
    assert f"1 lines could not be stored. They are in {folder / SET_ASIDE}" in str(error.value)


def test_old_rows_go_after_14_days_and_minutes_after_400(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str]
):
    now = clock.now()
    for days in (401, 20, 13, 0):
        gateway.record_requests(f"{days} days", at=(now - timedelta(days=days)).timestamp())
        gateway.stop()
        ingest_all()
    delete_expired(now=now)
    assert set(Request.objects.values_list("request_id", flat=True)) == {"13 days", "0 days"}
    assert Minute.objects.count() == 3
    assert figures(check()) == [2, 0, 0, 0, 2, 2]


def test_deleted_rows_are_not_reported_when_the_retention_is_extended(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str], settings: Any
):
    now = clock.now()
    for days in (20, 0):
        gateway.record_requests(f"{days} days", at=(now - timedelta(days=days)).timestamp())
        gateway.stop()
        ingest_all()
    delete_expired(now=now)
    settings.USAGE_ROW_DAYS = 30
    assert figures(check()) == [1, 0, 0, 0, 1, 1]


def test_files_partly_beyond_the_retention_are_consistent(
    gateway: Gateway, ingest_all: IngestAll, check: Callable[[], str]
):
    """A long request is recorded after later, shorter ones, but its row is deleted before theirs."""
    now = clock.now()
    edge = (now - timedelta(days=14)).timestamp()
    for name, after in (("quick", 200), ("long", -20), ("next", 300)):
        gateway.record_requests(name, at=edge + after)
        ingest_all()
    gateway.stop()
    gateway.record_requests("today")
    ingest_all()
    delete_expired(now=now)
    assert set(Request.objects.values_list("request_id", flat=True)) == {"quick", "next", "today"}
    assert figures(check()) == [3, 0, 0, 0, 3, 3]


def test_a_file_that_cannot_be_read_is_named(gateway: Gateway, check: Callable[[], str], folder: Path):
    gateway.record_requests("a")
    (folder / f"0{ENDING}").mkdir()
    with pytest.raises(CommandError, match=rf"0{ENDING} cannot be read \(Is a directory\)"):
        check()
