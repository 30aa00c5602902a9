"""How a follower hears that something was committed, so that it need not ask the database all the time.

In one process a bell rings. Between processes SQLite tells by a number that changes with every commit of another connection
(some microseconds to look at), and PostgreSQL by NOTIFY, which it delivers with the commit. News may be lost, such as by a
connection pooler that does not pass NOTIFY on: whoever waits here looks for itself every now and then.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from serving_ui.revisions import changes
from serving_ui.revisions.revision_signal import revision_committed

SAFETY_SECONDS = 0.2  # without any news
FILE_LOOK_SECONDS = 0.02
NOTIFY_SECONDS = 0.1


class News:
    """What one thread has heard so far."""

    def __init__(self) -> None:
        self._heard = revision_committed.count
        self._file_version = 0
        self._listening: Any = None  # the connection on which this thread has said LISTEN

    def wait(self) -> None:
        """Returns at news, and after SAFETY_SECONDS anyway. Raises DatabaseError when the database is away."""
        with connection.wrap_database_errors:
            if connection.vendor == "postgresql":
                self._wait_for_notify()
            else:
                self._wait_for_file()

    def _wait_for_notify(self) -> None:
        connection.ensure_connection()
        if self._listening is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {changes.CHANNEL}")
            self._listening = connection.connection
            return  # whatever was committed before is looked for now
        for _notice in self._listening.notifies(timeout=NOTIFY_SECONDS, stop_after=1):
            return

    def _wait_for_file(self) -> None:
        until = time.monotonic() + SAFETY_SECONDS
        while time.monotonic() < until:
            before, self._heard = self._heard, revision_committed.wait(self._heard, timeout=FILE_LOOK_SECONDS)
            if self._heard != before or self._has_changed():
                return

    def _has_changed(self) -> bool:
        if connection.vendor != "sqlite":
            return False
        connection.ensure_connection()
        before = self._file_version
        self._file_version = connection.connection.execute("PRAGMA data_version").fetchone()[0]
        return bool(self._file_version != before)
