"""A line that cannot become a row does not block others: it is moved to a separate file, counted once and reported."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import ENDING, MAX_LINE_BYTES, SET_ASIDE
from serving_ui.lib import clock
from serving_ui.usage import ingest as ingest_module
from serving_ui.usage import set_aside
from serving_ui.usage.models import Minute, Request, SpoolFile
from serving_ui.usage.retention import delete_expired
from tests.usage.conftest import Gateway, record

IngestAll = Callable[[], int]
HEADER = json.dumps({"format": 1, "fields": Record._fields})
HUGE = "1" + "0" * 400


class Text(str):
    """JSON text that is written unchanged."""


def line(number: object, name: str = "strange", **changes: object) -> str:
    values = {**record(name)._asdict(), **changes}
    spelled = (each if isinstance(each, Text) else json.dumps(each) for each in (number, *values.values()))
    return f"[{','.join(spelled)}]"


def write(folder: Path, *lines: str, name: str = "0", header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}{ENDING}"
    path.write_bytes("".join(f"{each}\n" for each in (header, *lines)).encode(errors="surrogateescape"))
    return path


def names() -> list[str]:
    return list(Request.objects.order_by("id").values_list("request_id", flat=True))


def set_aside_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines in the file of set-aside lines."""
    path = folder / SET_ASIDE
    return [json.loads(each) for each in path.read_bytes().splitlines()] if path.exists() else []


NO_ROW = {
    "its number is infinite": line(Text("1e400")),
    "its number is above 2^63": line(2**63),
    "its number is above 2^31": line(2**31),
    "its number is far beyond": line(2_000_000),
    "its number is zero": line(0),
    "its number is negative": line(-1),
    "its number is a fraction": line(2.5),
    "its number is a text": line("2"),
    "its number is true": line(Text("true")),
    "its number came before": line(1),
    "a text is a number of 5,000 digits": line(2, model=Text("1" + "0" * 5000)),
    "half of a surrogate pair": line(2, model=Text('"\\ud800"')),
    "half of a surrogate pair as a name": line(2, usage_context=Text('{"\\udfff":"a"}')),
    "bytes that are no UTF-8": line(2, model="x").replace("x", "\udcff"),
    "deep": "[" * 5000 + "]" * 5000,
    "too long": line(2, model="x" * 2 * MAX_LINE_BYTES),
    "too many parts": line(2, usage_context=Text("[" + "[]," * 120_000 + "[]]")),
    "too few values": '[2,"x"]',
    "no list": '{"number":2}',
    "nothing": "",
    "no JSON": "<html>",
    "NUL": "\0" * 4096,
}


@pytest.mark.parametrize("strange", NO_ROW.values(), ids=NO_ROW.keys())
def test_an_invalid_line_is_set_aside(ingest_all: IngestAll, folder: Path, strange: str):
    before = line(1, "before")
    path = write(folder, before, strange, line(3, "after"))
    write(folder, line(1, "of another gateway"), name="1")
    assert ingest_all() == 3
    assert names() == ["before", "after", "of another gateway"]
    (aside,) = set_aside_lines(folder)
    assert (aside["file"], aside["offset"]) == (path.name, len(HEADER) + len(before) + 2)
    assert aside["reason"].endswith(".")
    assert aside["line"].startswith(strange[:20].replace("\udcff", "\\xff"))
    assert not path.exists()
    file = SpoolFile.objects.get(name=path.name)
    assert (file.rows, file.aside, file.is_done) == (2, 1, True)
    assert ingest_all() == 0
    assert len(set_aside_lines(folder)) == 1


FITS = {
    "infinite tokens": {"tokens_in": Text("1e400")},
    "infinite milliseconds": {"total_ms": Text("1e400")},
    "no number": {"tokens_out": Text("NaN"), "total_ms": Text("-Infinity")},
    "tokens of 400 digits": {"tokens_in": Text(HUGE)},
    "milliseconds of 400 digits": {"total_ms": Text(HUGE), "overhead_ms": Text("-" + HUGE)},
    "a status above 2^63": {"status": 2**63},
    "a version above 2^63": {"config_version": 2**63},
    "everything is true": dict.fromkeys(Record._fields[1:], True),
    "everything is null": dict.fromkeys(Record._fields[1:]),
    "everything is a list": {name: [1] for name in Record._fields[1:]},
    "everything is an object": {name: {"a": [None]} for name in Record._fields[1:]},
    "everything is a text": dict.fromkeys(Record._fields[1:], "0"),
    "NUL": {"model": "a\0b", "usage_context": {"a\0": "\0"}},
    "many names": {"usage_context": {str(number): "" for number in range(20_000)}},
    "nested": {"usage_context": Text('{"a":' + "[" * 150 + "]" * 150 + "}")},
}


@pytest.mark.parametrize("strange", FITS.values(), ids=FITS.keys())
def test_values_out_of_range_are_adjusted(ingest_all: IngestAll, folder: Path, strange: dict[str, Any]):
    write(folder, line(1, "before"), line(2, "strange", **strange), line(3, "after"))
    assert ingest_all() == 3
    assert names() == ["before", "strange", "after"]
    assert not set_aside_lines(folder)
    assert sum(Minute.objects.values_list("requests", flat=True)) == 3


@pytest.mark.parametrize("at", [-1e18, -62_135_596_800, 0, True, 253_402_300_799, 1e18, Text("1e400"), "x"])
def test_an_impossible_time_is_replaced_by_now(ingest_all: IngestAll, folder: Path, at: object):
    """Otherwise the row would be deleted immediately, or never."""
    write(folder, line(1, at=at))
    ingest_all()
    assert abs((Request.objects.get().at - clock.now()).total_seconds()) < 60


@pytest.mark.parametrize(
    "header", ["", "x", "3", "[" * 5000, '{"fields":3}', '{"format":1,"fields":[1]}', "x" * 10**6]
)
def test_lines_after_an_unreadable_header_are_set_aside(ingest_all: IngestAll, folder: Path, header: str):
    write(folder, line(1), line(2), header=header)
    write(folder, line(1, "of another gateway"), name="1")
    assert ingest_all() == 1
    assert next(each["offset"] for each in set_aside_lines(folder)) == 0
    assert len(set_aside_lines(folder)) == 3
    assert SpoolFile.objects.get(name=f"0{ENDING}").aside == 3


@pytest.mark.parametrize("old", [{"fields": Record._fields}, {"format": 0, "fields": Record._fields}])
def test_the_header_of_an_older_gateway_is_understood(ingest_all: IngestAll, folder: Path, old: object):
    write(folder, line(1, "old"), header=json.dumps(old))
    assert ingest_all() == 1


def test_a_file_of_a_newer_gateway_waits_for_a_newer_worker(ingest_all: IngestAll, folder: Path):
    newer = write(folder, line(1), header=json.dumps({"format": 2, "fields": Record._fields}))
    write(folder, line(1, "of this version"), name="1")
    done = ingest_module.ingest(folder=folder, clock=clock.now)
    assert (done.rows, done.failed) == (1, [newer.name])
    assert newer.exists()
    assert not set_aside_lines(folder)


def test_a_line_is_not_read_before_its_header_is_complete(
    ingest_all: IngestAll, gateway: Gateway, folder: Path
):
    gateway.record_requests("a")
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:20])
    assert ingest_all() == 0
    path.write_bytes(content)
    assert ingest_all() == 1
    assert not set_aside_lines(folder)


@contextmanager
def refusing(condition: str) -> Iterator[str]:
    """Makes the database refuse the rows that match, like an invalid value. Yields a word of its error message."""
    if connection.vendor == "sqlite":
        word, make, end = "too big", "", "DROP TRIGGER refusing"
        does = f"WHEN {condition} BEGIN SELECT zeroblob(2000000000); END"
    else:
        word, end = "division by zero", "DROP FUNCTION refuse CASCADE"
        make = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1 / 0; END'"
        does = f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
    with connection.cursor() as cursor:
        for statement in (make, f"CREATE TRIGGER refusing BEFORE INSERT ON usage_request {does}"):
            if statement:
                cursor.execute(statement)
        yield word
        cursor.execute(end)


@pytest.mark.parametrize("places", [{0}, {999}, {500}, {1, 2, 700}, set(range(0, 1000, 100))])
def test_lines_that_only_the_database_refuses_are_set_aside_out_of_a_thousand(
    ingest_all: IngestAll, gateway: Gateway, folder: Path, places: set[int]
):
    for place in range(1000):
        gateway.record_requests(str(place), model="refused" if place in places else "")
    with refusing("NEW.model = 'refused'") as word:
        assert ingest_all() == 1000 - len(places)
    assert names() == [str(place) for place in range(1000) if place not in places]
    assert {json.loads(each["line"])[1] for each in set_aside_lines(folder)} == set(map(str, places))
    assert all(word in each["reason"] for each in set_aside_lines(folder))
    assert sum(Minute.objects.values_list("requests", flat=True)) == 1000 - len(places)
    file = SpoolFile.objects.get()
    assert (file.answered, file.rows, file.aside) == (1000, 1000 - len(places), len(places))
    gateway.record_requests("next")
    assert ingest_all() == 1


def test_a_database_that_refuses_every_row_sets_nothing_aside(
    ingest_all: IngestAll, gateway: Gateway, folder: Path
):
    """The lines are not at fault, so they stay in the spool until the database works again."""
    gateway.record_requests("a", "b", "c")
    with refusing("NEW.status >= 0"):
        done = ingest_module.ingest(folder=folder, clock=clock.now)
        assert (done.rows, len(done.failed)) == (0, 1)
        assert not set_aside_lines(folder)
    assert ingest_all() == 3


def test_the_file_of_set_aside_lines_is_readable_by_its_owner_only(ingest_all: IngestAll, folder: Path):
    write(folder, "<html>")
    ingest_all()
    assert stat.S_IMODE((folder / SET_ASIDE).stat().st_mode) == 0o600


def test_the_file_of_set_aside_lines_is_bounded_and_all_lines_are_counted(
    ingest_all: IngestAll, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(set_aside, "MAX_FILE_BYTES", 1000)
    write(folder, *(f"<html>{'x' * 60}" for _ in range(30)))
    ingest_all()
    assert 0 < len(set_aside_lines(folder)) < 30
    assert (folder / SET_ASIDE).stat().st_size <= 1000
    assert SpoolFile.objects.get().aside == 30


def test_a_line_half_written_by_a_killed_worker_is_written_again(ingest_all: IngestAll, folder: Path):
    write(folder, "<html>")
    (folder / SET_ASIDE).write_text('{"file":"earlier","offset":1,"reason":"","line":""}\n{"file":"0.rec')
    ingest_all()
    assert [each["file"] for each in set_aside_lines(folder)] == ["earlier", f"0{ENDING}"]


def test_a_line_that_cannot_be_set_aside_stays_in_the_spool(ingest_all: IngestAll, folder: Path):
    path = write(folder, line(1), "<html>")
    (folder / SET_ASIDE).mkdir()
    assert ingest_module.ingest(folder=folder, clock=clock.now).failed == [path.name]
    assert (Request.objects.count(), path.exists()) == (0, True)
    (folder / SET_ASIDE).rmdir()
    assert ingest_all() == 1
    assert [each["line"] for each in set_aside_lines(folder)] == ["<html>"]


def test_set_aside_lines_are_deleted_with_the_retention_of_rows(ingest_all: IngestAll, folder: Path):
    write(folder, "<html>")
    ingest_all()
    later = clock.now() + timedelta(days=15)
    ingest_module.ingest(folder=folder, clock=lambda: later)
    assert not set_aside_lines(folder)
    delete_expired(now=clock.now())
    assert SpoolFile.objects.count() == 1, "it is counted as long as rows are kept"
    delete_expired(now=later)
    assert not SpoolFile.objects.exists()


def test_a_folder_that_cannot_be_listed_is_a_failure(ingest_all: IngestAll, folder: Path):
    """Otherwise the worker would report that it ingested everything."""
    folder.write_text("a file stands in its place")
    with pytest.raises(NotADirectoryError):
        ingest_all()
