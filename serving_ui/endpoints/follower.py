"""Keeps a gateway's snapshot the newest one, from a thread of its own in the gateway's process.

The gateway knows neither rows nor Django; this brings it each new snapshot and acknowledges it to whoever waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import threading
import time
import uuid

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection

from serving_ui.endpoints import copy
from serving_ui.endpoints.keeper import Keeper
from serving_ui.endpoints.news import News
from serving_ui.endpoints.snapshots import SnapshotBuilder
from serving_ui.endpoints.worker_watch import WorkerWatch
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.lib.schema import Schema
from serving_ui.revisions import gateways
from serving_ui.revisions.changes import current_revision
from serving_ui.revisions.revision_signal import revision_committed

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 1.0
SCHEMA_SECONDS = 10.0  # between two looks whether the database is newer than this code
AWAY_SECONDS = 0.2  # between two looks whether the database is back
UNANSWERED_SECONDS = 5.0  # then whoever asks for our health is told
CATCH_UP_SECONDS = 1.0  # so long a query waits for a process that was held up to follow what it has missed
CATCH_UP_LOOK_SECONDS = 0.005
SILENCE_SECONDS = 3.0  # so long a database may say nothing before a starting process turns to its copy


class Follower:
    """Follows the database; when it is away, the last good snapshot keeps serving."""

    def __init__(self, holder: SnapshotHolder) -> None:
        self.holder = holder
        self.process = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._current_at = 0.0  # monotonic: when the snapshot was last known to be the newest; 0: never
        self._trouble = ""  # why it is not known now
        self._builder = SnapshotBuilder()
        self._news = News()
        self.worker = WorkerWatch()
        self._has_joined = False
        self._said_at = 0.0
        self.sure_until = math.inf
        """Monotonic. Until then changes wait for this process; afterwards it must look before it answers, because a change
        may have been answered without it. For ever while there is no database to look at."""
        self._copy: copy.Copy | None = None  # what is served until the database has answered
        self._schema = Schema()
        self._schema_at = -math.inf
        self.outdated: str | None = None
        """A sentence, if the database is newer than this code."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-follower", daemon=True)
        self._keeper = Keeper(holder, path=settings.SNAPSHOT_COPY)
        self.copy_concern = self._keeper.concern
        self._silence = threading.Timer(SILENCE_SECONDS, self._serve_copy)

    def start(self) -> None:
        self._thread.start()
        self._silence.daemon = True
        self._keeper.start()
        self._silence.start()  # a database may also be away by saying nothing at all

    def stop(self) -> None:
        self._stop.set()
        self._silence.cancel()
        revision_committed.notify()
        self._thread.join(5)
        self._keeper.stop()

    async def catch_up(self) -> None:
        """For a query after `sure_until`, such as in a process that the system had stopped. Returns once what was changed
        meanwhile is in service, or when the database says nothing: then the last snapshot keeps serving."""
        until = time.monotonic() + CATCH_UP_SECONDS
        while time.monotonic() > self.sure_until:
            if time.monotonic() > until:
                self.sure_until = math.inf
            await asyncio.sleep(CATCH_UP_LOOK_SECONDS)

    def concern(self) -> str | None:
        """What whoever runs this must know, if something is wrong."""
        if self._copy:
            return (
                "The database has not answered since this process started. It serves the copy of its data folder, "
                f"which is {self._copy.age:.0f} s old: what was changed since is not in force."
            )
        if not self._current_at:
            return self._trouble or None
        age = time.monotonic() - self._current_at
        if not self._trouble and age < UNANSWERED_SECONDS:
            return None
        why = self._trouble or "The database does not answer."
        return f"{why} What was changed in the last {age:.0f} s is not in force."

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
                self._news.wait()
            except (DatabaseError, InterfaceError) as error:
                self._lose("The database is away.", error)
                close_old_connections()
            except Exception as error:  # the outermost edge: this thread must not die before its gateway
                self._lose("The snapshot cannot be built; the log has the reason.", error)
        try:
            gateways.leave(process=self.process)
        except (DatabaseError, InterfaceError):
            log.warning("The database is away; this process is forgotten after a while instead of at once")
        connection.close()

    def _follow(self) -> None:
        """Serves the newest snapshot and says so; also every second, as a sign of life."""
        if not self._has_joined:
            # The long way first, while nobody waits for this process. From the moment that it has joined every change
            # waits for it, and what was changed before is in the snapshot that it builds next.
            current_revision()
            self._silence.cancel()
            self._builder.build()
            gateways.join(process=self.process)
            self.holder.standing = gateways.rank_and_count(process=self.process)
            self._has_joined = True
        held = self._builder.build()
        if held is not self.holder.current:
            self.holder.replace(held)
            self._copy = None
            self._acknowledge(revision=held.revision)
        else:
            if time.monotonic() - self._said_at >= HEARTBEAT_SECONDS:
                self._acknowledge(revision=held.revision)
            self.holder.standing = gateways.rank_and_count(process=self.process)
        self._trouble, self._current_at = "", time.monotonic()
        self.worker.look()
        self._look_at_schema()

    def _look_at_schema(self) -> None:
        if time.monotonic() - self._schema_at < SCHEMA_SECONDS:
            return
        self._schema_at, before = time.monotonic(), self.outdated
        self.outdated = self._schema.concern()
        if self.outdated and self.outdated != before:
            log.warning(self.outdated)

    def _acknowledge(self, *, revision: int) -> None:
        began = time.monotonic()
        gateways.acknowledge(process=self.process, revision=revision, limits=self.holder.limits)
        self._said_at = time.monotonic()
        self.sure_until = began + gateways.LIVENESS_TIMEOUT.total_seconds()

    def _serve_copy(self) -> None:
        """The database is away, and this process has never seen it."""
        if self.holder.current.revision or self._copy:
            return
        found = copy.load(path=settings.SNAPSHOT_COPY)
        if found and not self.holder.current.revision:
            self._copy = found
            self.holder.replace(found.snapshot)

    def _lose(self, trouble: str, error: Exception) -> None:
        """The last snapshot keeps serving. Said once, however long it lasts."""
        if trouble != self._trouble:
            is_plain = isinstance(error, OperationalError | InterfaceError)  # its words say it all
            why = f" ({' '.join(str(error).split())})" if is_plain else ""
            log.warning(
                "%s The last snapshot keeps serving.%s", trouble, why, exc_info=None if is_plain else error
            )
        else:  # a connection that was lost while this process was stopped is opened again the second time
            self.sure_until = math.inf
        self._trouble, self._has_joined = trouble, False
        self._serve_copy()
        self._stop.wait(AWAY_SECONDS)
