"""Each step of a start with a full disk, simulated by a limit on file sizes (RLIMIT_FSIZE), which needs no root."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.support.waiting import free_port

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on a new data folder; `max_file_bytes` is the largest file size."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}

    def run_command(
        command: str, *, max_file_bytes: int = resource.RLIM_INFINITY
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *command.split()],
            cwd=ROOT, env={**clean, "SERVING_UI_DATA": str(tmp_path)}, capture_output=True, text=True, check=False,
            timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes)),
        )  # fmt: skip

    return run_command


def error_message(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("Preparing the database.\n").rstrip("\n")


@pytest.mark.parametrize("command", ["up", "gateway", "create_token ada@example.com"])
def test_a_full_disk_while_keys_are_written_is_reported(run: Run, tmp_path: Path, command: str):
    printed = error_message(run(command, max_file_bytes=10))
    assert printed == (
        f"The key file {tmp_path}/session.key cannot be read or made (file too large). "
        "Make room, or give yourself the right to read and write there, and start again."
    )
    assert [each.name for each in tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["up", "migrate --verbosity 0", "sign_in_link ada@example.com"])
@pytest.mark.parametrize("max_file_bytes", [1_000, 150_000])
def test_a_full_disk_while_the_database_is_created_is_reported(run: Run, command: str, max_file_bytes: int):
    printed = error_message(run(command, max_file_bytes=max_file_bytes))
    assert printed.startswith("The database cannot be used. It reported: ")
    assert printed.endswith("Check SERVING_UI_DATABASE_URL, or the data folder, and start again.")


def test_a_full_disk_while_static_files_are_collected_by_up_is_reported(run: Run, tmp_path: Path):
    assert run("create_token ada@example.com").returncode == 0
    printed = error_message(run(f"up --port {free_port()}", max_file_bytes=40_000))
    assert printed == (
        f"The static files cannot be collected in {tmp_path}/static (file too large). "
        "Make room there, or give yourself the right to write, and start again."
    )
    shutil.rmtree(tmp_path / "static")
    (tmp_path / "static").touch()
    assert "The static files cannot be collected in" in error_message(run(f"up --port {free_port()}"))


def test_a_full_disk_while_static_files_are_collected_is_reported(run: Run, tmp_path: Path):
    printed = error_message(run("collectstatic --noinput", max_file_bytes=10_000))
    assert printed.startswith(f"{tmp_path}/static/") or printed.startswith(
        "A file cannot be written (file too large)."
    )


def test_a_full_disk_while_the_broker_folder_is_created_is_reported(run: Run, tmp_path: Path):
    (tmp_path / "broker").touch()
    assert f"The broker's folder {tmp_path}/broker cannot be created" in error_message(run("check"))


def test_a_full_disk_while_the_lock_file_is_written_is_reported(run: Run, tmp_path: Path):
    (tmp_path / "up.lock").mkdir()
    assert error_message(run("up")).startswith(f"{tmp_path}/up.lock cannot be written (is a directory).")
