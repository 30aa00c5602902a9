"""Brings the data folder up to date before anything runs: tables, static files, ready-made endpoints.

Each step first finds out, cheaply, whether it has anything to do: a second start must be quick. One command at a time does it: the
others on the same data folder or the same database wait.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import DatabaseError, connection, connections
from django.db import Error as AnyDatabaseError
from django.db.migrations.executor import MigrationExecutor

from serving_ui.bootstrap.errors import StartError, reason
from serving_ui.lib.schema import KnownMigrations

ADVISORY_LOCK = 7_378_484_769  # any number that nobody else uses in this database


def everything() -> None:
    """All of it. No connection stays open: the processes started next must not share one."""
    try:
        with alone():
            _tables()
            static_files()
            ready_made_endpoints()
    except DatabaseError as error:
        raise unusable(error) from error
    finally:
        connections.close_all()


def tables() -> None:
    """Migrate, when there is something to migrate."""
    try:
        with alone():
            _tables()
    except DatabaseError as error:
        raise unusable(error) from error


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else prepares this data folder or this database within the block. Raises DatabaseError."""
    folder = os.open(settings.DATA, os.O_RDONLY)  # a lock on the folder itself leaves no file behind
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say_waiting()
            fcntl.flock(folder, fcntl.LOCK_EX)
        if connection.vendor == "postgresql":  # which other machines use as well
            with _advisory_lock():
                yield
        else:
            yield
    finally:
        os.close(folder)


@contextmanager
def _advisory_lock() -> Iterator[None]:
    """It is the connection's, and ends with it at the latest."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
        if not cursor.fetchone()[0]:
            _say_waiting()
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
    try:
        yield
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])


def _say_waiting() -> None:
    print("Another command is preparing the database; waiting for it.", file=sys.stderr, flush=True)


def _tables() -> None:
    if concern := KnownMigrations().concern():
        print(concern, file=sys.stderr, flush=True)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        print("Preparing the database.", file=sys.stderr, flush=True)
        call_command(migrate.Command(), interactive=False, verbosity=0)


def unusable(error: AnyDatabaseError) -> StartError:
    """What to do about a database that does not do what it is asked."""
    words = str(error).strip().rstrip(".")
    return StartError(
        f"The database cannot be used. Its words were: {words}. "
        "Check SERVING_UI_DATABASE_URL, or the data folder, and start again."
    )


def static_files() -> None:
    """Collect the static files, when one of them has changed."""
    note = Path(settings.DATA) / "static.txt"
    present = _static_fingerprint()
    try:
        if note.exists() and note.read_text() == present and Path(settings.STATIC_ROOT).is_dir():
            return
        call_command("collectstatic", interactive=False, verbosity=0)
        note.write_text(present)
    except OSError as error:
        raise StartError(
            f"The static files cannot be collected in {settings.STATIC_ROOT} ({reason(error)}). "
            "Make room there, or give yourself the right to write, and start again."
        ) from error


def _static_fingerprint() -> str:
    """Changes with every file that would be collected: its name, size and time."""
    lines = []
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            lines.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def ready_made_endpoints() -> None:
    """The Sandbox cards, which a newcomer queries without any key."""
    from serving_ui.endpoints import ready_made

    ready_made.ensure()


def welcome_path() -> str | None:
    """A one-time sign-in link while nobody has ever signed in."""
    from serving_ui.accounts.commands import first_sign_in_link
    from serving_ui.lib import clock

    try:
        return first_sign_in_link(now=clock.now())
    finally:
        connections.close_all()
