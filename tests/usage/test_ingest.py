"""Each line of a spool becomes one row and is added to its minute once, while gateways go on writing."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db.models import Sum
from pydantic_core import to_json

from serving_ui.gateway.meter import LATENCY_MS
from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import ENDING, Spool
from serving_ui.usage import aggregates, row_values
from serving_ui.usage import ingest as ingest_module
from serving_ui.usage.models import LATENCY_NAMES, Minute, Request, SpoolFile, Total
from tests.usage.conftest import Gateway, record

IngestAll = Callable[[], int]
NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


def names() -> list[str]:
    return list(Request.objects.order_by("id").values_list("request_id", flat=True))


def test_a_record_becomes_a_row_with_all_its_fields(gateway: Gateway, ingest_all: IngestAll):
    gateway.record_requests("r-1", at=NOON.timestamp(), usage_context={"team": "a"}, retries=2, status=206)
    assert ingest_all() == 1
    row = Request.objects.get()
    assert (row.request_id, row.at, row.endpoint, row.entity) == ("r-1", NOON, "chat", "entity")
    assert (row.tokens_in, row.tokens_out, row.tokens_source) == (3, 5, "reported")
    assert (row.status, row.retries, row.usage_context) == (206, 2, {"team": "a"})
    assert (row.first_byte_ms, row.total_ms, row.overhead_ms) == (20.0, 30.0, 0.2)


PARTS = ("tokens_cached", "tokens_cache_written", "tokens_reasoning")


def test_tokens_with_their_own_price_are_stored_and_summed_separately(
    gateway: Gateway, ingest_all: IngestAll
):
    at = NOON.timestamp()
    gateway.record_requests("a", at=at, tokens_in=900, tokens_cached=600, tokens_cache_written=200)
    gateway.record_requests("b", at=at, tokens_cached=1, tokens_out=50, tokens_reasoning=40)
    ingest_all()
    rows = Request.objects.order_by("id").values_list(*PARTS)
    assert list(rows) == [(600, 200, 0), (1, 0, 40)]
    gateway.record_requests("c", at=at, tokens_reasoning=2, tokens_source="mixed")
    ingest_all()
    for sums in (Minute, Total):
        assert sums.objects.values_list(*PARTS, "estimated").get() == (601, 200, 42, 1)


def test_a_record_of_the_previous_version_has_no_separately_priced_tokens(
    ingest_all: IngestAll, folder: Path
):
    fields = [name for name in Record._fields if name not in PARTS]
    one = record("before", at=NOON.timestamp())
    folder.mkdir()
    lines = [to_json({"format": 1, "fields": fields}), to_json((1, *(getattr(one, name) for name in fields)))]
    (folder / f"before{ENDING}").write_bytes(b"".join(line + b"\n" for line in lines))
    assert ingest_all() == 1
    assert Request.objects.values_list("tokens_in", "tokens_out", "usage_context", *PARTS).get() == (
        3, 5, {}, 0, 0, 0
    )  # fmt: skip


def test_a_worker_of_the_previous_version_stores_the_fields_that_it_knows(
    gateway: Gateway, ingest_all: IngestAll, monkeypatch: pytest.MonkeyPatch
):
    """It does not write unknown columns, which have defaults in the database."""
    gateway.record_requests("a", "b", tokens_cached=2, tokens_reasoning=1)
    with monkeypatch.context() as before:
        before.setattr(
            row_values, "_CONVERTERS", [each for each in row_values._CONVERTERS if each[0] not in PARTS]
        )
        before.setattr(row_values, "COLUMNS", tuple(name for name in row_values.COLUMNS if name not in PARTS))
        indices = [index for index, name in enumerate(aggregates._SUMS) if name not in PARTS]
        counted = aggregates._contribution
        before.setattr(
            aggregates,
            "_contribution",
            lambda row: [counted({**dict.fromkeys(PARTS, 0), **row})[index] for index in indices],
        )
        before.setattr(aggregates, "_SUMS", tuple(aggregates._SUMS[index] for index in indices))
        assert ingest_all() == 2
    gateway.record_requests("c", tokens_cached=2, tokens_reasoning=1)
    assert ingest_all() == 1
    assert list(Request.objects.order_by("id").values_list(*PARTS)) == [(0, 0, 0), (0, 0, 0), (2, 0, 1)]
    assert Total.objects.values_list("requests", "tokens_in", *PARTS).get() == (3, 9, 2, 0, 1)


def test_a_record_is_stored_only_once(gateway: Gateway, ingest_all: IngestAll):
    gateway.record_requests("a", "b")
    assert [ingest_all(), ingest_all()] == [2, 0]
    gateway.record_requests("c")
    assert [ingest_all(), ingest_all()] == [1, 0]
    assert names() == ["a", "b", "c"]


def test_a_file_is_deleted_once_its_gateway_has_ended_and_all_of_it_is_stored(
    gateway: Gateway, ingest_all: IngestAll, folder: Path
):
    gateway.record_requests("a")
    ingest_all()
    assert list(folder.iterdir())
    gateway.record_requests("b")
    gateway.stop()
    ingest_all()
    assert not list(folder.iterdir())
    assert names() == ["a", "b"]
    assert SpoolFile.objects.get().is_done


def test_a_large_backlog_is_stored_in_batches(
    gateway: Gateway, ingest_all: IngestAll, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ingest_module, "BATCH_LINES", 10)
    monkeypatch.setattr(ingest_module, "MAX_BATCHES", 3)
    gateway.record_requests(*map(str, range(45)))
    gateway.stop()
    assert [ingest_all() for _ in range(3)] == [30, 15, 0]
    assert names() == [str(number) for number in range(45)]


def test_requests_are_added_up_by_minute_entity_and_principal(gateway: Gateway, ingest_all: IngestAll):
    at = NOON.timestamp()
    gateway.record_requests("a", "b", at=at)
    ingest_all()
    gateway.record_requests("c", at=at + 20, status=429, completeness="limited", tokens_in=0, tokens_out=0)
    gateway.record_requests("d", at=at + 21, status=502, completeness="failed", total_ms=900.0)
    gateway.record_requests("e", at=at + 40)
    gateway.record_requests("f", at=at, principal_id="8", principal="other@example.com")
    ingest_all()
    assert Minute.objects.count() == 3
    minute = Minute.objects.get(minute=NOON.replace(second=0), principal_id="7")
    assert (minute.requests, minute.errors_4xx, minute.errors_5xx, minute.limited) == (4, 1, 1, 1)
    assert (minute.tokens_in, minute.tokens_out, minute.total_ms, minute.slowest_ms) == (9, 15, 990.0, 900.0)
    assert minute.latency == [0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert Minute.objects.aggregate(all=Sum("requests"))["all"] == Request.objects.count() == 6


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("tokens_in", math.nan, 0),
        ("tokens_in", -5, 0),
        ("tokens_out", 10**30, 2**31 - 1),
        ("retries", 10**9, 32_767),
        ("total_ms", math.inf, 0.0),
        ("total_ms", 1e300, 2.0**31 - 1),
        ("model", "a\0b" + "x" * 500, "ab" + "x" * 126),
        ("client_request_id", None, ""),
        ("usage_context", {"a\0": "b\0"}, {"a": "b"}),
        ("usage_context", ["not", "a", "map"], {}),
    ],
)
def test_a_value_out_of_range_is_adjusted(
    gateway: Gateway, ingest_all: IngestAll, field: str, value: object, stored: object
):
    gateway.record_requests("strange", **{field: value})
    gateway.record_requests("next")
    assert ingest_all() == 2
    assert getattr(Request.objects.get(request_id="strange"), field) == stored


def test_an_invalid_time_is_replaced_by_now(gateway: Gateway, ingest_all: IngestAll):
    gateway.record_requests("a", at=1e30)
    ingest_all()
    assert abs((Request.objects.get().at - datetime.now(UTC)).total_seconds()) < 60


def test_lines_of_an_older_and_of_a_newer_gateway_are_read(ingest_all: IngestAll, folder: Path):
    folder.mkdir()
    header = to_json({"format": 1, "fields": ["request_id", "at", "status", "completeness", "of_tomorrow"]})
    line = to_json((1, "old", NOON.timestamp(), 200, "complete", {"x": 1}))
    (folder / f"old{ENDING}").write_bytes(header + b"\n" + line + b"\n")
    assert ingest_all() == 1
    assert (Request.objects.get().request_id, Request.objects.get().tokens_in) == ("old", 0)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfe", b'{"fields": 3}\n[1]\n', b'{"fields":["at"]}\n[1,[]]\n']
)
def test_a_broken_file_does_not_delay_other_files(
    gateway: Gateway, ingest_all: IngestAll, folder: Path, content: bytes
):
    gateway.record_requests("a")
    (folder / f"0{ENDING}").write_bytes(content)
    ingest_all()
    assert "a" in names()


def test_an_unreadable_file_does_not_delay_other_files(gateway: Gateway, ingest_all: IngestAll, folder: Path):
    gateway.record_requests("a")
    (folder / f"0{ENDING}").mkdir()
    assert ingest_all() == 1


def test_a_duplicate_line_becomes_one_row(ingest_all: IngestAll, folder: Path):
    spool = Spool(folder)
    spool.record(record("a"))
    spool.stop()
    (path,) = folder.iterdir()
    header, line = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + line + line)
    assert ingest_all() == 1
    assert Minute.objects.get().requests == 1


def test_each_histogram_bound_has_a_column():
    assert len(LATENCY_NAMES) == len(LATENCY_MS) + 1
    assert {field.name for field in Minute._meta.concrete_fields} >= set(LATENCY_NAMES)
