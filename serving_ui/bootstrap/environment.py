"""The virtual environment beside manage.py: made once, filled from the locks, entered at every start.

A note inside it says which locks are in it. The note says "unfinished" while anything is being changed,
and an environment that was left so is made anew by the next start. Nothing but Python itself is imported,
and the heavy parts only when there is something to do: this is on the way of every command.
"""

from __future__ import annotations

import os
import sys

from serving_ui.bootstrap.errors import StartError, reason

FOLDER = ".venv"
NOTE = "locks.txt"
RUNTIME_LOCK = "requirements.lock"
TEST_LOCK = "tests/requirements.lock"
UNFINISHED = "unfinished\n"


def enter(root: str, argv: list[str], *, tests: bool) -> None:
    """Return inside the right environment, with the locks installed; else become its Python."""
    locks = (RUNTIME_LOCK, TEST_LOCK) if tests else (RUNTIME_LOCK,)
    wanted = [_fingerprint(root, lock) for lock in locks]
    if not _holds(root, wanted):
        _bring(root, locks, wanted)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(root, FOLDER)):
        python = python_of(root)
        sys.stdout.flush()
        os.execv(python, [python, *argv])  # noqa: S606 -- the same command line, in the environment


def python_of(root: str) -> str:
    """Where the environment's Python is, or will be."""
    return os.path.join(root, FOLDER, "bin", "python")


def _fingerprint(root: str, lock: str) -> str:
    """One line of the note: which lock, and what it says."""
    from hashlib import sha256

    try:
        with open(os.path.join(root, lock), "rb") as file:
            return f"{lock} {sha256(file.read()).hexdigest()}\n"
    except OSError as error:
        raise StartError(
            f"{lock} cannot be read ({reason(error)}). Take it from a fresh clone and start again."
        ) from error


def _note(root: str) -> list[str]:
    try:
        with open(os.path.join(root, FOLDER, NOTE), encoding="utf-8") as file:
            return file.readlines()
    except OSError:
        return []


def _usable(root: str) -> bool:
    """Whether its Python still exists and is the version that the packages were installed for."""
    python = python_of(root)
    version = os.path.basename(os.path.realpath(python))  # python3.11, after a system upgrade python3.13
    return os.path.exists(python) and (
        "." not in version or os.path.isdir(os.path.join(root, FOLDER, "lib", version))
    )


def _holds(root: str, wanted: list[str]) -> bool:
    return set(wanted) <= set(_note(root)) and _usable(root)


def _bring(root: str, locks: tuple[str, ...], wanted: list[str]) -> None:
    """Make the environment, or bring it up to date. One start at a time; the others wait for it."""
    from serving_ui.bootstrap import install

    folder = os.path.join(root, FOLDER)
    try:
        with install.alone(root) as turn:
            if _holds(root, wanted):  # another start has just done it
                return
            had = _note(root)
            if UNFINISHED in had or not _usable(root):
                install.remove(folder)
                had = []
            os.makedirs(folder, exist_ok=True)
            _write(root, [UNFINISHED])
            install.fill(root, python_of(root), locks, turn=turn)
            others = {line for line in had if line.split(" ")[0] not in locks}
            _write(root, sorted(others.union(wanted)))
    except OSError as error:
        raise StartError(
            f"The virtual environment {folder} cannot be written ({reason(error)}). "
            "Give yourself the right to write there, or clone the project to a folder of your own."
        ) from error


def _write(root: str, lines: list[str]) -> None:
    """Replace the note at once: it is never seen half written."""
    path = os.path.join(root, FOLDER, NOTE)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(path + ".new", path)
