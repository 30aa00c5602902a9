"""Creates the virtual environment with Python's venv, and installs the lock files with pip and their hashes."""

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
def exclusive_lock(root: str) -> Iterator[int]:
    """One process installs at a time. The lock is on the folder of the checkout, so that there is no lock file."""
    lock_file = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _print("Another start is installing the requirements; waiting for it.")
            fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield lock_file
    finally:
        os.close(lock_file)


def remove(folder: str) -> None:
    """Delete an unfinished environment."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)


def install(root: str, python: str, locks: tuple[str, ...], *, lock_file: int, notice: str) -> None:
    """Install the lock files; create the environment, after printing `notice`, if there is none."""
    if os.path.exists(python):
        _print("Installing the requirements that changed since the last start.")
    else:
        _print(notice)
        _create(os.path.dirname(os.path.dirname(python)), lock_file=lock_file)
    code, output = _run(pip_command(root, python, locks), lock_file=lock_file)
    if code:
        raise StartError(_explanation(code, output))


def pip_command(root: str, python: str, locks: tuple[str, ...]) -> list[str]:
    """Installs exactly what the lock files pin. With dependency resolution an older pip would choose newer releases of pinned packages,
    and fail because they have no hash."""
    pip = [python, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-input"]
    files = [part for lock in locks for part in ("--requirement", os.path.join(root, lock))]
    return [*pip, "--disable-pip-version-check", *files]


def _create(folder: str, *, lock_file: int) -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise StartError(
            "This Python cannot create a virtual environment: its module venv or ensurepip is missing. "
            "Install it (on Debian: apt-get install python3-venv) and start again."
        )
    base = getattr(
        sys, "_base_executable", sys.executable
    )  # sys.executable may be in the environment that was just deleted
    code, output = _run([base, "-m", "venv", folder], lock_file=lock_file)
    if code:
        raise StartError(
            f"The virtual environment {folder} could not be created. Python reported: {_last(output)} "
            "Repair this Python's venv module (on Debian: apt-get install python3-venv) and start again."
        )


def _run(command: list[str], *, lock_file: int) -> tuple[int, list[str]]:
    """Returns the exit code and the output. The child inherits the lock: if only this process is killed, the next one still waits
    for the installation."""
    environment = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(  # the output is shown only when it fails
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[lock_file],
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
    """The last error with the lines below it, or else the last line; ends with a full stop."""
    lines = [line.strip() for line in output if line.strip()] or ["nothing"]
    errors = [number for number, line in enumerate(lines) if line.lower().startswith("error")]
    words = " ".join(lines[errors[-1] :][:LINES_OF_AN_ERROR] if errors else lines[-1:])
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
