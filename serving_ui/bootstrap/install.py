"""Fills the virtual environment: Python's own venv, then pip with the hashes of the locks.

Loaded only when something has to be installed. Imports nothing but Python itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from serving_ui.bootstrap.errors import StartError

LINES_OF_AN_ERROR = 4
_NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Cannot connect to proxy",
)


@contextlib.contextmanager
def alone(root: str) -> Iterator[int]:
    """Only one start installs at a time. The lock is on the checkout itself, so it leaves no file behind."""
    turn = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another start is installing the requirements; waiting for it.")
            fcntl.flock(turn, fcntl.LOCK_EX)
        yield turn
    finally:
        os.close(turn)


def remove(folder: str) -> None:
    """Take an unfinished environment away."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)


def fill(root: str, python: str, locks: tuple[str, ...], *, turn: int) -> None:
    """Install the locks, into a new environment when there is none."""
    if os.path.exists(python):
        _say("Installing the requirements that changed since the last start.")
    else:
        _say("First start: making .venv and installing the locked requirements. This takes a minute or two.")
        _make(os.path.dirname(os.path.dirname(python)), turn=turn)
    code, output = _run(pip_command(root, python, locks), turn=turn)
    if code:
        raise StartError(_explanation(code, output))


def pip_command(root: str, python: str, locks: tuple[str, ...]) -> list[str]:
    """Installs exactly what the locks hold. Left to look for dependencies itself, an older pip asks for a newer release of
    what is pinned already, and refuses it for want of a hash; a release made after this clone could break it as well."""
    pip = [python, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-input"]
    files = [part for lock in locks for part in ("--requirement", os.path.join(root, lock))]
    return [*pip, "--disable-pip-version-check", *files]


def _make(folder: str, *, turn: int) -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise StartError(
            "This Python cannot make a virtual environment: its venv or ensurepip module is missing. "
            "Install it (on Debian: apt-get install python3-venv) and start again."
        )
    base = getattr(sys, "_base_executable", sys.executable)  # ours may be the one that was just removed
    code, output = _run([base, "-m", "venv", folder], turn=turn)
    if code:
        raise StartError(
            f"The virtual environment {folder} could not be made. Python's last words were: {_last(output)} "
            "Repair this Python's venv module (on Debian: apt-get install python3-venv) and start again."
        )


def _run(command: list[str], *, turn: int) -> tuple[int, list[str]]:
    """Run to the end and give back what was said. The child shares our lock, so that an installation
    whose start was killed is still waited for by the next one."""
    environment = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(  # its words are kept: they are shown only when something fails
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[turn],
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace").splitlines()


def _explanation(code: int, output: list[str]) -> str:
    if code < 0:
        return f"Installing the requirements was ended by signal {-code}. Start again to repair it."
    text = "\n".join(output)
    if any(sign in text for sign in _NO_NETWORK):
        return (
            "The requirements could not be downloaded, because pip does not reach its package index. Check the "
            f"network, or pip's proxy and index settings, and start again. pip's last error was: {_last(output)}"
        )
    return f"pip could not install the requirements. Its last error was: {_last(output)} Repair that and start again."


def _last(output: list[str]) -> str:
    """The last error with what pip lists below it, else the last line at all, ended like a sentence."""
    lines = [line.strip() for line in output if line.strip()] or ["nothing"]
    errors = [number for number, line in enumerate(lines) if line.lower().startswith("error")]
    words = " ".join(lines[errors[-1] :][:LINES_OF_AN_ERROR] if errors else lines[-1:])
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
