"""Several commands that start at once on an empty database: one migrates it, the others wait."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.organisation.conftest import Database
from tests.support.program import running_program
from tests.support.waiting import free_port

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def empty(postgresql: Database) -> str:
    """The address of a database without tables."""
    return postgresql.another(f"empty_{free_port()}")


def environment(folder: Path, url: str = "") -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
    address = {"SERVING_UI_DATABASE_URL": url} if url else {}
    return {**clean, "SERVING_UI_DATA": str(folder), **address}


def run_at_once(commands: list[tuple[str, dict[str, str]]]) -> list[str]:
    """Runs the commands concurrently; returns their outputs. All must succeed."""
    started = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command.split()],
            cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for command, env in commands
    ]  # fmt: skip
    outputs = [each.communicate(timeout=120) for each in started]
    assert [each.returncode for each in started] == [0] * len(commands), outputs
    assert not [errors for _output, errors in outputs if "Traceback" in errors]
    return [output for output, _errors in outputs]


@pytest.mark.smoke
def test_two_ups_start_on_one_empty_postgresql(empty: str, tmp_path: Path):
    with contextlib.ExitStack() as opened:
        ups = [
            opened.enter_context(
                running_program(
                    [sys.executable, "manage.py", "up", "--port", str(free_port())],
                    cwd=ROOT,
                    env=environment(tmp_path / str(number), empty),
                )
            )
            for number in range(2)
        ]
        for each in ups:
            each.wait_for_line("Serving page ready at", seconds=120)
            each.wait_for_line("Open this link")
        assert "Traceback" not in "".join(each.text for each in ups)
        assert [each.err.count("Preparing the database.") for each in ups] in ([0, 1], [1, 0])


def test_concurrent_commands_start_on_one_empty_postgresql(empty: str, tmp_path: Path):
    """Two of them create the same person, each with a data folder of its own."""
    commands = (
        "create_token ada@example.com",
        "sign_in_link ada@example.com",
        "migrate",
        "create_token bob@example.com",
    )
    run_at_once([(command, environment(tmp_path / command, empty)) for command in commands])


def test_concurrent_commands_start_on_one_empty_data_folder(tmp_path: Path):
    commands = [
        "create_token ada@example.com",
        "sign_in_link ada@example.com",
        "migrate --verbosity 0",
        "collectstatic --noinput --verbosity 0",
    ]
    outputs = run_at_once(
        [(command, environment(tmp_path / "data")) for command in [*commands, *commands[:2]]]
    )
    assert len({*outputs[:2], *outputs[4:]}) == 4
    keys = [(tmp_path / "data" / name) for name in ("session.key", "vault.key")]
    assert all(len(each.read_text()) > 50 and each.stat().st_mode & 0o777 == 0o600 for each in keys)
    assert not list((tmp_path / "data").glob("*.new"))
