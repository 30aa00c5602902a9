"""The virtual environment of a clone: created once, then entered, and recreated after an interrupted installation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.checkout import Checkout, digest, make_wheel
from tests.support.program import running_program
from tests.support.waiting import descendants, free_port, wait_until

FIRST = "First start: making .venv and installing the locked requirements. This takes a minute or two.\n"
PYTHON = getattr(sys, "_base_executable", sys.executable)
Finished = subprocess.CompletedProcess[str]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def start(checkout: Checkout, *arguments: str, **env: str) -> Finished:
    """Runs `python3 manage.py …` with a Python that has no packages of the project."""
    return subprocess.run(
        [PYTHON, "manage.py", *arguments],
        cwd=checkout.root,
        env={**checkout.env, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(done: Finished) -> str:
    """The error message of a start that failed, which must be its only output."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix(FIRST).rstrip("\n")


class HeldIndex(BaseHTTPRequestHandler):
    """A package index that answers only after `let_go` is set."""

    wheel: Path
    requested: threading.Event
    let_go: threading.Event

    def do_GET(self) -> None:
        self.requested.set()
        self.let_go.wait(300)
        page = f'<a href="/{self.wheel.name}#sha256={digest(self.wheel)}">{self.wheel.name}</a>'.encode()
        body = self.wheel.read_bytes() if self.path.endswith(".whl") else page
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def held_index(checkout: Checkout) -> Iterator[type[HeldIndex]]:
    handler: Any = type(
        "Index",
        (HeldIndex,),
        {
            "wheel": make_wheel(checkout.wheels),
            "requested": threading.Event(),
            "let_go": threading.Event(),
        },
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        checkout.env = {name: value for name, value in checkout.env.items() if name != "PIP_NO_INDEX"}
        checkout.env["PIP_FIND_LINKS"] = ""
        checkout.env["PIP_INDEX_URL"] = f"http://127.0.0.1:{server.server_port}/simple"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler
        handler.let_go.set()
        server.shutdown()


@pytest.mark.slow
def test_the_first_start_creates_the_environment_and_the_second_uses_it(checkout):
    first = start(checkout, "check", "--deploy")
    assert (first.returncode, first.stderr) == (0, FIRST)
    version, prefix, argv = json.loads(first.stdout)
    assert (version, prefix) == ("1.0", str(checkout.venv))
    assert argv == ["manage.py", "check", "--deploy"]
    second = start(checkout, "check", "--deploy")
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")


@pytest.mark.slow
def test_a_changed_lock_is_installed_and_a_failed_installation_is_repaired(checkout):
    start(checkout, "help")
    checkout.lock(version="2.0")
    changed = start(checkout, "help")
    assert changed.stderr == "Installing the requirements that changed since the last start.\n"
    assert json.loads(changed.stdout)[0] == "2.0"

    checkout.lock(version="3.0", sha256="0" * 64)
    sentence = refusal(start(checkout, "help"))
    assert "pip could not install the requirements. Its last error was: " in sentence

    checkout.lock(version="3.0")
    repaired = start(checkout, "help")
    assert json.loads(repaired.stdout)[0] == "3.0"
    assert repaired.stderr == FIRST  # a failed installation is not reused


@pytest.mark.slow
@pytest.mark.installation
def test_an_installation_that_was_killed_is_repaired_by_the_next_start(checkout, held_index):
    with running_program([PYTHON, "manage.py", "help"], cwd=checkout.root, env=checkout.env) as program:
        wait_until(held_index.requested.is_set, what="pip's request to the index", seconds=120)
        for process in {program.process.pid, *descendants(program.process.pid)}:
            os.kill(process, signal.SIGKILL)
    held_index.let_go.set()
    done = start(checkout, "help")
    assert (done.returncode, done.stderr) == (0, FIRST)
    assert json.loads(done.stdout)[1] == str(checkout.venv)


@pytest.mark.slow
@pytest.mark.installation
def test_a_second_start_waits_for_a_running_installation(checkout, held_index):
    command = [PYTHON, "manage.py", "help"]
    with running_program(command, cwd=checkout.root, env=checkout.env) as first:
        wait_until(held_index.requested.is_set, what="pip's request to the index", seconds=120)
        with running_program(command, cwd=checkout.root, env=checkout.env) as second:
            wait_until(lambda: second.err, what="the line that the second start waits")
            held_index.let_go.set()
            assert (first.wait_for_exit(seconds=120), second.wait_for_exit(seconds=120)) == (0, 0)
    assert second.err == ["Another start is installing the requirements; waiting for it."]
    assert first.out == second.out


@pytest.mark.slow
@pytest.mark.installation
def test_an_environment_without_its_python_is_created_again(checkout):
    start(checkout, "help")
    (checkout.venv / "bin" / "python").unlink()
    done = start(checkout, "help")
    assert (done.returncode, done.stderr) == (0, FIRST)


@pytest.mark.slow
@pytest.mark.installation
def test_an_unreachable_package_index_is_reported(checkout):
    checkout.env = {name: value for name, value in checkout.env.items() if name != "PIP_NO_INDEX"}
    env = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple",
        "PIP_RETRIES": "1",
        "PIP_FIND_LINKS": "",
    }
    sentence = refusal(start(checkout, "up", **env))
    assert sentence.startswith(
        "The requirements could not be downloaded, because pip does not reach its package index."
    )
    assert "pip's last error was: ERROR: No matching distribution found for standin==1.0" in sentence
    assert sentence.endswith(".")


def test_a_python_without_venv_is_reported_with_what_to_install(checkout, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    sentence = refusal(start(checkout, "up", PYTHONPATH=str(tmp_path)))
    assert sentence == (
        "This Python cannot create a virtual environment: its module venv or ensurepip is missing. "
        "Install it (on Debian: apt-get install python3-venv) and start again."
    )


def test_a_checkout_that_cannot_be_written_is_reported_with_its_path(checkout):
    checkout.venv.touch()
    sentence = refusal(start(checkout, "up"))
    assert sentence == (
        f"The virtual environment {checkout.venv} cannot be written (not a directory). "
        "Give yourself the right to write there, or clone the project to a folder of your own."
    )


def test_a_missing_lock_is_reported(checkout):
    (checkout.root / "requirements.lock").unlink()
    sentence = refusal(start(checkout, "up"))
    assert sentence == (
        "requirements.lock cannot be read (no such file or directory). "
        "Take it from a fresh clone and start again."
    )
