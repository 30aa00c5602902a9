"""Waits for commits that raise the revision, so that a follower need not query the database all the time.

A commit of the same process is signalled by `revision_committed`. A commit of another process is seen on SQLite by
`PRAGMA data_version`, a counter of other connections' commits that takes microseconds to read, and on PostgreSQL by NOTIFY. A
notification can be lost, for example in a connection pooler that drops NOTIFY, so every wait also ends after a short time.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from serving_ui.revisions.changes import CHANNEL
from serving_ui.revisions.revision_signal import revision_committed

MAX_WAIT_SECONDS = 0.2
FILE_POLL_SECONDS = 0.02
NOTIFY_TIMEOUT_SECONDS = 0.1


class ChangeListener:
    """The state of one waiting thread."""

    def __init__(self) -> None:
        self._seen = revision_committed.count
        self._data_version = 0
        self._listening: Any = None  # the psycopg connection on which LISTEN was executed

    def wait(self) -> None:
        """Returns after a commit, and at the latest after MAX_WAIT_SECONDS. Raises DatabaseError if the database is unreachable."""
        with connection.wrap_database_errors:
            if connection.vendor == "postgresql":
                self._wait_for_notify()
            else:
                self._wait_for_file()

    def _wait_for_notify(self) -> None:
        connection.ensure_connection()
        if self._listening is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._listening = connection.connection
            return  # changes committed before LISTEN are not notified, so the caller queries them now
        for _notice in self._listening.notifies(timeout=NOTIFY_TIMEOUT_SECONDS, stop_after=1):
            return

    def _wait_for_file(self) -> None:
        until = time.monotonic() + MAX_WAIT_SECONDS
        while time.monotonic() < until:
            before, self._seen = (
                self._seen,
                revision_committed.wait(self._seen, timeout=FILE_POLL_SECONDS),
            )
            if self._seen != before or self._has_changed():
                return

    def _has_changed(self) -> bool:
        if connection.vendor != "sqlite":
            return False
        connection.ensure_connection()
        before = self._data_version
        self._data_version = connection.connection.execute("PRAGMA data_version").fetchone()[0]
        return bool(self._data_version != before)
