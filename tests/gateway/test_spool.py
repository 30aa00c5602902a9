"""The spool: records become lines that can be read while the file is written; on a full disk rows are lost, but no answer fails."""

from __future__ import annotations

import logging
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving_ui.gateway import spool as spool_module
from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import ENDING, Batch, Spool, read


def record(name: str = "a", **changes: object) -> Record:
    return Record(request_id=name, at=1_795_000_000.25, **changes)  # type: ignore[arg-type]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{ENDING}"))


def only(folder: Path) -> Path:
    (path,) = files(folder)
    return path


def whole(path: Path) -> Batch:
    return read(path, offset=0, max_lines=1000)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size`: writes are cut there and then refused, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path: Path):
    spool = Spool(tmp_path / "spool")
    spool.record(record("a", endpoint="chat", tokens_in=3, usage_context={"team": "日本"}))
    spool.record(record("b", status=499, completeness="client_left"))
    batch = whole(only(tmp_path / "spool"))
    (one, first, *_), (two, second, *_) = batch.rows
    assert (one, two, batch.is_last, batch.invalid) == (1, 2, False, [])
    assert (first["request_id"], first["at"], first["tokens_in"]) == ("a", 1_795_000_000.25, 3)
    assert first["usage_context"] == {"team": "日本"}
    assert (second["status"], second["completeness"]) == (499, "client_left")
    spool.stop()


def test_reading_continues_at_the_offset_where_it_ended(tmp_path: Path):
    spool = Spool(tmp_path)
    for name in "abcde":
        spool.record(record(name))
    first = read(only(tmp_path), offset=0, max_lines=3)
    spool.record(record("f"))
    spool.stop()
    second = read(only(tmp_path), offset=first.offset, max_lines=1000)
    names = [row.values["request_id"] for row in (*first.rows, *second.rows)]
    assert names == list("abcdef")
    assert not first.is_last
    assert second.is_last


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path):
    spool = Spool(tmp_path / "spool")
    spool.record(record())
    spool.stop()
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE(only(tmp_path / "spool").stat().st_mode) == 0o600


def test_no_folder_is_created_before_the_first_record(tmp_path: Path):
    Spool(tmp_path / "spool").stop()
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("limits", [{"max_file_bytes": 10}, {"max_file_seconds": 0.0}])
def test_a_file_that_is_full_or_old_is_followed_by_another(tmp_path: Path, limits: dict[str, float]):
    spool = Spool(tmp_path, **limits)  # type: ignore[arg-type]
    spool.record(record("a"))
    first = only(tmp_path)
    spool.record(record("b"))
    assert len(files(tmp_path)) == 2
    assert whole(first).is_last
    assert not any(whole(path).is_last for path in files(tmp_path) if path != first)
    assert sorted(row.values["request_id"] for path in files(tmp_path) for row in whole(path).rows) == [
        "a",
        "b",
    ]
    spool.stop()


def test_a_row_lost_on_a_full_disk_leaves_a_gap_in_the_row_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool_module, "REOPEN_SECONDS", 0.0)
    spool = Spool(tmp_path)
    spool.record(record("a"))
    first = only(tmp_path)
    with caplog.at_level(logging.ERROR), room_for(first.stat().st_size + 20):
        spool.record(record("cut short"))
        with room_for(0):
            spool.record(record("refused"))
    spool.record(record("b"))
    spool.record(record("c"))
    spool.stop()
    (second,) = set(files(tmp_path)) - {first}
    batches = [whole(path) for path in (first, second)]
    named = [[(row.number, row.values["request_id"]) for row in batch.rows] for batch in batches]
    assert named == [[(1, "a")], [(3, "b"), (4, "c")]]
    assert (spool.lost, [batch.invalid for batch in batches]) == (2, [[], []])
    assert len(caplog.records) == 1
    assert "could not be written" in caplog.text


def test_files_written_before_the_disk_was_full_can_be_removed_at_once(tmp_path: Path):
    """The spool itself may be what fills the disk."""
    spool = Spool(tmp_path)
    spool.record(record("a"))
    with room_for(only(tmp_path).stat().st_size):
        spool.record(record("refused"))
    assert whole(only(tmp_path)).is_last
    spool.stop()


def test_a_disk_that_stays_full_leaves_no_files_and_no_open_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool_module, "REOPEN_SECONDS", 0.0)
    spool = Spool(tmp_path)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with room_for(0):
        for name in "abcdef":
            spool.record(record(name))
    assert spool.lost == 6
    assert not list(tmp_path.iterdir())
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_rows_are_lost_while_the_folder_cannot_be_created(tmp_path: Path):
    (tmp_path / "spool").write_text("a file stands in its place")
    spool = Spool(tmp_path / "spool")
    for name in "abc":
        spool.record(record(name))
    assert spool.lost == 3


def test_a_line_that_was_cut_by_a_power_failure_is_counted_as_unusable(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.record(record("a"))
    spool.record(record("b"))
    spool.stop()
    path = only(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    batch = whole(path)
    assert [row.values["request_id"] for row in batch.rows] == ["a"]
    assert (len(batch.invalid), batch.is_last) == (1, True)
