"""The virtual environment beside manage.py: created once, filled from the lock files, entered by every command.

Engines that run models have environments of their own in the data folder. A file in each, locks.txt, records the lock files that are installed, with their hashes. It says "unfinished" during an installation,
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
_FIRST_START = "First start: making .venv and installing the locked requirements. This takes a minute or two."


def enter(root: str, argv: list[str], *, tests: bool) -> None:
    """Return if this process runs in the environment; else replace it by the environment's Python, with the same arguments."""
    locks = (RUNTIME_LOCK, TEST_LOCK) if tests else (RUNTIME_LOCK,)
    folder = os.path.join(root, FOLDER)
    prepare(root, folder, locks, lock_folder=root, notice=_FIRST_START)
    if os.path.realpath(sys.prefix) != os.path.realpath(folder):
        python = python_of(folder)
        sys.stdout.flush()
        os.execv(python, [python, *argv])  # noqa: S606 -- an argument list, no shell


def prepare(root: str, folder: str, locks: tuple[str, ...], *, lock_folder: str, notice: str) -> None:
    """Create the environment `folder`, or update it, unless the lock files are installed in it. Raises StartError.

    `locks` are paths within `root`. One process at a time installs: it locks the existing folder `lock_folder`. `notice` is printed
    before the environment is created.
    """
    wanted = [_fingerprint(root, lock) for lock in locks]
    if not _is_installed(folder, wanted):
        _install(root, folder, locks, wanted, lock_folder=lock_folder, notice=notice)


def python_of(folder: str) -> str:
    """The path of the environment's Python, which may not exist yet."""
    return os.path.join(folder, "bin", "python")


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


def _read_record(folder: str) -> list[str]:
    try:
        with open(os.path.join(folder, RECORD), encoding="utf-8") as file:
            return file.readlines()
    except OSError:
        return []


def _is_usable(folder: str) -> bool:
    """Whether its Python exists and has the version for which the packages were installed."""
    python = python_of(folder)
    version = os.path.basename(os.path.realpath(python))  # python3.11, after a system upgrade python3.13
    return os.path.exists(python) and (
        "." not in version or os.path.isdir(os.path.join(folder, "lib", version))
    )


def _is_installed(folder: str, wanted: list[str]) -> bool:
    return set(wanted) <= set(_read_record(folder)) and _is_usable(folder)


def _install(
    root: str, folder: str, locks: tuple[str, ...], wanted: list[str], *, lock_folder: str, notice: str
) -> None:
    """Create the environment or update it, one process at a time."""
    from serving_ui.bootstrap import install

    try:
        with install.exclusive_lock(lock_folder) as lock_file:
            if _is_installed(folder, wanted):  # another process has just installed it
                return
            recorded = _read_record(folder)
            if UNFINISHED in recorded or not _is_usable(folder):
                install.remove(folder)
                recorded = []
            os.makedirs(folder, exist_ok=True)
            _write_record(folder, [UNFINISHED])
            install.install(root, python_of(folder), locks, lock_file=lock_file, notice=notice)
            others = {line for line in recorded if line.split(" ")[0] not in locks}
            _write_record(folder, sorted(others.union(wanted)))
    except OSError as error:
        raise StartError(
            f"The virtual environment {folder} cannot be written ({reason(error)}). "
            "Give yourself the right to write there, or clone the project to a folder of your own."
        ) from error


def _write_record(folder: str, lines: list[str]) -> None:
    """Replace the file atomically."""
    path = os.path.join(folder, RECORD)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(path + ".new", path)
