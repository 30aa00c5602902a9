"""The virtual environment beside manage.py: created once, filled from the lock files, entered by every command.

A file in it, locks.txt, records the lock files that are installed, with their hashes. It says "unfinished" during an installation,
and the next command recreates an environment that was left in that state. Every command runs this module, so that it imports
little, and install.py only when there is something to install.
"""

from __future__ import annotations

import os
import sys

from serving_ui.bootstrap.errors import StartError, reason

FOLDER = ".venv"
RECORD = "locks.txt"
RUNTIME_LOCK = "requirements.lock"
TEST_LOCK = "tests/requirements.lock"
UNFINISHED = "unfinished\n"


def enter(root: str, argv: list[str], *, tests: bool) -> None:
    """Return if this process runs in the environment; else replace it by the environment's Python, with the same arguments."""
    locks = (RUNTIME_LOCK, TEST_LOCK) if tests else (RUNTIME_LOCK,)
    wanted = [_fingerprint(root, lock) for lock in locks]
    if not _is_installed(root, wanted):
        _install(root, locks, wanted)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(root, FOLDER)):
        python = python_of(root)
        sys.stdout.flush()
        os.execv(python, [python, *argv])  # noqa: S606 -- an argument list, no shell


def python_of(root: str) -> str:
    """The path of the environment's Python, which may not exist yet."""
    return os.path.join(root, FOLDER, "bin", "python")


def _fingerprint(root: str, lock: str) -> str:
    """One line of the record: the path of the lock file and its SHA-256."""
    from hashlib import sha256

    try:
        with open(os.path.join(root, lock), "rb") as file:
            return f"{lock} {sha256(file.read()).hexdigest()}\n"
    except OSError as error:
        raise StartError(
            f"{lock} cannot be read ({reason(error)}). Take it from a fresh clone and start again."
        ) from error


def _read_record(root: str) -> list[str]:
    try:
        with open(os.path.join(root, FOLDER, RECORD), encoding="utf-8") as file:
            return file.readlines()
    except OSError:
        return []


def _is_usable(root: str) -> bool:
    """Whether its Python exists and has the version for which the packages were installed."""
    python = python_of(root)
    version = os.path.basename(os.path.realpath(python))  # python3.11, after a system upgrade python3.13
    return os.path.exists(python) and (
        "." not in version or os.path.isdir(os.path.join(root, FOLDER, "lib", version))
    )


def _is_installed(root: str, wanted: list[str]) -> bool:
    return set(wanted) <= set(_read_record(root)) and _is_usable(root)


def _install(root: str, locks: tuple[str, ...], wanted: list[str]) -> None:
    """Create the environment or update it, one process at a time."""
    from serving_ui.bootstrap import install

    folder = os.path.join(root, FOLDER)
    try:
        with install.exclusive_lock(root) as lock_file:
            if _is_installed(root, wanted):  # another process has just installed it
                return
            recorded = _read_record(root)
            if UNFINISHED in recorded or not _is_usable(root):
                install.remove(folder)
                recorded = []
            os.makedirs(folder, exist_ok=True)
            _write_record(root, [UNFINISHED])
            install.install(root, python_of(root), locks, lock_file=lock_file)
            others = {line for line in recorded if line.split(" ")[0] not in locks}
            _write_record(root, sorted(others.union(wanted)))
    except OSError as error:
        raise StartError(
            f"The virtual environment {folder} cannot be written ({reason(error)}). "
            "Give yourself the right to write there, or clone the project to a folder of your own."
        ) from error


def _write_record(root: str, lines: list[str]) -> None:
    """Replace the file atomically."""
    path = os.path.join(root, FOLDER, RECORD)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(path + ".new", path)
