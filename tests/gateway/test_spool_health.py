"""The problems of the usage spool that `/readyz` reports, each with what to do; nothing without a problem."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_ui.gateway import spool as spool_module
from serving_ui.gateway import spool_health
from serving_ui.gateway.spool import SET_ASIDE, Spool
from serving_ui.gateway.usage_recorder import UsageRecorder
from tests.gateway.test_spool import only, record, room_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def recorder(folder: Path) -> Iterator[UsageRecorder]:
    made = UsageRecorder(spool=folder, metrics=folder.parent / "metrics")
    yield made
    made.stop()


def reported(recorder: UsageRecorder) -> list[str]:
    """Without reports about the disk of the machine that runs the tests."""
    sentences = [words for check in recorder.health_checks if (words := check())]
    return [words for words in sentences if "nearly full" not in words]


def test_lost_rows_are_reported_while_they_are_lost_and_for_a_while_after(
    recorder: UsageRecorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool_module, "REOPEN_SECONDS", 0.0)
    recorder.record(record())
    assert reported(recorder) == []
    with room_for(0):
        recorder.record(record())
        recorder.record(record())
        assert reported(recorder) == [
            "Usage cannot be written to the data folder (file too large): 2 rows of this process are lost so far. "
            "The answers are not affected. Make room there, or give the gateway's user the right to write."
        ]
    recorder.record(record())
    assert reported(recorder) == [
        "Usage could not be written to the data folder for a while (file too large): 2 rows of this process are lost. "
        "It can be written again. `manage.py check_usage` counts what is missing."
    ]
    monkeypatch.setattr(spool_module, "LOSS_REPORTED_SECONDS", 0.0)
    assert reported(recorder) == []


def test_set_aside_lines_are_reported_until_their_file_is_deleted(recorder: UsageRecorder, folder: Path):
    recorder.record(record())
    (folder / SET_ASIDE).write_text("{}\n")
    (sentence,) = reported(recorder)
    assert "in spool/set-aside.jsonl" in sentence
    assert "manage.py check_usage" in sentence
    (folder / SET_ASIDE).unlink()
    assert reported(recorder) == []


@pytest.mark.parametrize(
    ("is_open", "seconds", "is_reported"), [(False, 300, True), (False, 5, False), (True, 300, False)]
)
def test_an_unprocessed_file_is_reported(folder: Path, is_open: bool, seconds: int, is_reported: bool):
    """A file that is still written may be of any age."""
    spool = Spool(folder)
    spool.record(record())
    if not is_open:
        spool.stop()
    at = time.time() - seconds
    os.utime(only(folder), (at, at))
    sentence = spool_health.UnprocessedFiles(folder)()
    assert ("Check that a worker runs on this machine" in (sentence or "")) == is_reported
    spool.stop()


def test_a_nearly_full_disk_is_reported(tmp_path: Path):
    """Also before the spool exists. With a least share of 1.0 any disk counts as nearly full."""
    sentence = spool_health.nearly_full(tmp_path / "spool", min_free_share=1.0, min_free_bytes=2**62)
    assert "is nearly full" in (sentence or "")
    assert "Make room" in (sentence or "")
    assert spool_health.nearly_full(tmp_path / "spool", min_free_share=0.0) is None
    assert spool_health.nearly_full(tmp_path / "spool", min_free_bytes=0) is None
