"""Prepares the data folder before anything runs: migrations, static files, built-in endpoints.

Each step first checks cheaply whether there is anything to do, because every later start must be quick. A lock on the data folder
and one on the database let one command at a time run the steps.
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

ADVISORY_LOCK = 7_378_484_769  # an arbitrary number, for pg_advisory_lock


def prepare_all() -> None:
    """All steps. Closes the database connections: the processes that are started next must not inherit them."""
    try:
        with exclusive_lock():
            _migrate()
            collect_static_files()
            create_built_in_endpoints()
    except DatabaseError as error:
        raise database_unusable(error) from error
    finally:
        connections.close_all()


def migrate_database() -> None:
    """Run the migrations that the database lacks."""
    try:
        with exclusive_lock():
            _migrate()
    except DatabaseError as error:
        raise database_unusable(error) from error


@contextmanager
def exclusive_lock() -> Iterator[None]:
    """Holds the lock of this data folder and of this database. Raises DatabaseError."""
    folder = os.open(settings.DATA, os.O_RDONLY)  # a lock on the folder itself needs no lock file
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _print_waiting()
            fcntl.flock(folder, fcntl.LOCK_EX)
        if connection.vendor == "postgresql":  # other machines may use the same database
            with _advisory_lock():
                yield
        else:
            yield
    finally:
        os.close(folder)


@contextmanager
def _advisory_lock() -> Iterator[None]:
    """PostgreSQL releases it when the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
        if not cursor.fetchone()[0]:
            _print_waiting()
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
    try:
        yield
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])


def _print_waiting() -> None:
    print("Another command is preparing the database; waiting for it.", file=sys.stderr, flush=True)


def _migrate() -> None:
    if warning := KnownMigrations().unknown_migrations_warning():
        print(warning, file=sys.stderr, flush=True)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        print("Preparing the database.", file=sys.stderr, flush=True)
        call_command(migrate.Command(), interactive=False, verbosity=0)


def database_unusable(error: AnyDatabaseError) -> StartError:
    """The error message for a database that is unreachable, locked or full."""
    message = str(error).strip().rstrip(".")
    return StartError(
        f"The database cannot be used. It reported: {message}. "
        "Check SERVING_UI_DATABASE_URL, or the data folder, and start again."
    )


def collect_static_files() -> None:
    """Collect the static files if one of them has changed."""
    recorded = Path(settings.DATA) / "static.txt"
    fingerprint = _static_fingerprint()
    try:
        if recorded.exists() and recorded.read_text() == fingerprint and Path(settings.STATIC_ROOT).is_dir():
            return
        call_command("collectstatic", interactive=False, verbosity=0)
        recorded.write_text(fingerprint)
    except OSError as error:
        raise StartError(
            f"The static files cannot be collected in {settings.STATIC_ROOT} ({reason(error)}). "
            "Make room there, or give yourself the right to write, and start again."
        ) from error


def _static_fingerprint() -> str:
    """A hash of the name, size and modification time of each file that would be collected."""
    lines = []
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            lines.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def create_built_in_endpoints() -> None:
    """Create the Sandbox endpoints, which can be queried without an API key, if they are missing."""
    from serving_ui.endpoints import built_in

    built_in.ensure()


def welcome_path() -> str | None:
    """The path of a one-time sign-in link if nobody has ever signed in, else None."""
    from serving_ui.accounts.commands import first_sign_in_link
    from serving_ui.lib import clock

    try:
        return first_sign_in_link(now=clock.now())
    finally:
        connections.close_all()
