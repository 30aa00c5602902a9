"""Brings the data folder up to date before anything runs: tables, static files, ready-made endpoints.

Each step first finds out, cheaply, whether it has anything to do: a second start must be quick.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from serving_ui.start.problem import StartProblem


def everything() -> None:
    """All of it. No connection stays open: the processes started next must not share one."""
    try:
        tables()
        static_files()
        ready_made_endpoints()
    finally:
        connections.close_all()


def tables() -> None:
    """Migrate, when there is something to migrate."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            print("Preparing the database.", file=sys.stderr, flush=True)
            call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        raise unusable(error) from error


def unusable(error: DatabaseError) -> StartProblem:
    """What to do about a database that does not do what it is asked."""
    return StartProblem(
        f"The database cannot be used. Its words were: {str(error).strip()}. "
        "Check SERVING_UI_DATABASE_URL, or the data folder, and start again."
    )


def static_files() -> None:
    """Collect the static files, when one of them has changed."""
    note = Path(settings.DATA) / "static.txt"
    present = _static_fingerprint()
    if note.exists() and note.read_text() == present and Path(settings.STATIC_ROOT).is_dir():
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    note.write_text(present)


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
