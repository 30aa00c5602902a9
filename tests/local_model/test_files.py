"""The files by which pages and `up` tell each other about the models on this machine."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from serving_ui.local_model.files import Connection, Files, ModelStatus, Phase, Status


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_each_wish_differs_and_ends_with_stop(files: Files):
    assert files.wish() == ""
    files.want()
    first = files.wish()
    files.want()
    assert first
    assert files.wish() not in ("", first)
    files.stop_wanting()
    files.stop_wanting()
    assert files.wish() == ""


def test_the_state_is_read_as_it_was_written(files: Files):
    status = Status(
        Phase.RUNNING, megabytes=3, models=(ModelStatus("a", is_ready=True), ModelStatus("b", message="why"))
    )
    files.write_status(status)
    assert files.status() == status


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"phase": "X"}', '{"phase": "FAILED", "x": 1}'])
def test_files_that_cannot_be_read_are_empty(files: Files, content: str):
    files.want()
    for name in ("status.json", "ports.json", "connections.json"):
        (files.folder / name).write_text(content)
    assert files.status() == Status()
    assert files.ports() == ()
    assert files.connections() == {}


def test_ports_stay_until_another_program_takes_one(files: Files):
    ports = files.reserve_ports(3)
    assert len(set(ports)) == 3
    assert files.reserve_ports(3) == files.ports() == ports
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[1]))
        other.listen()
        changed = files.reserve_ports(3)
    assert set(changed) > {ports[0], ports[2]}
    assert ports[1] not in changed


def test_only_the_owner_reads_the_files_and_no_key_is_printed(files: Files):
    previous = os.umask(0)
    try:
        files.write_connections({"smollm2": Connection(1, "secret-key")})
        files.lock_as_running()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in files.folder.iterdir()} == {0o600}
    assert files.connections()["smollm2"].key == "secret-key"
    assert "secret-key" not in repr(files.connections())


def test_up_runs_as_long_as_its_lock_is_open(files: Files):
    assert not files.is_up_running()
    lock = files.lock_as_running()
    assert files.is_up_running()
    os.close(lock)
    assert not files.is_up_running()
