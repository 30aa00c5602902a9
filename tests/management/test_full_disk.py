"""Each step of a start when the disk is full. A limit on the size of files (RLIMIT_FSIZE) stands for a full disk: it needs no root."""

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
    """Run a command on a data folder of its own; `most` is the largest size of a file in bytes."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}

    def carry_out(command: str, *, most: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *command.split()],
            cwd=ROOT, env={**clean, "SERVING_UI_DATA": str(tmp_path)}, capture_output=True, text=True, check=False,
            timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        )  # fmt: skip

    return carry_out


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("Preparing the database.\n").rstrip("\n")


@pytest.mark.parametrize("command", ["up", "gateway", "create_token ada@example.com"])
def test_the_keys(run: Run, tmp_path: Path, command: str):
    printed = sentence(run(command, most=10))
    assert printed == (
        f"The key file {tmp_path}/session.key cannot be read or made (file too large). "
        "Make room, or give yourself the right to read and write there, and start again."
    )
    assert [each.name for each in tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["up", "migrate --verbosity 0", "sign_in_link ada@example.com"])
@pytest.mark.parametrize("most", [1_000, 150_000])
def test_the_database(run: Run, command: str, most: int):
    printed = sentence(run(command, most=most))
    assert printed.startswith("The database cannot be used. Its words were: ")
    assert printed.endswith("Check SERVING_UI_DATABASE_URL, or the data folder, and start again.")


def test_the_static_files(run: Run, tmp_path: Path):
    assert run("create_token ada@example.com").returncode == 0
    printed = sentence(run(f"up --port {free_port()}", most=40_000))
    assert printed == (
        f"The static files cannot be collected in {tmp_path}/static (file too large). "
        "Make room there, or give yourself the right to write, and start again."
    )
    shutil.rmtree(tmp_path / "static")
    (tmp_path / "static").touch()
    assert "The static files cannot be collected in" in sentence(run(f"up --port {free_port()}"))


def test_the_static_files_collected_alone(run: Run, tmp_path: Path):
    printed = sentence(run("collectstatic --noinput", most=10_000))
    assert printed.startswith(f"{tmp_path}/static/") or printed.startswith(
        "A file cannot be written (file too large)."
    )


def test_the_folder_of_the_broker(run: Run, tmp_path: Path):
    (tmp_path / "broker").touch()
    assert f"The broker's folder {tmp_path}/broker cannot be made" in sentence(run("check"))


def test_the_lock_of_the_folder(run: Run, tmp_path: Path):
    (tmp_path / "up.lock").mkdir()
    assert sentence(run("up")).startswith(f"{tmp_path}/up.lock cannot be written (is a directory).")
