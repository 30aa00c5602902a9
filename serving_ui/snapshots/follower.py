"""Keeps the snapshot of a gateway process up to date, in a thread of its own.

The gateway imports no Django: this thread reads the database, puts each new snapshot into service and acknowledges its revision.
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

from serving_ui.endpoints.worker_health import WorkerHealth
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.lib.schema import KnownMigrations
from serving_ui.revisions import gateways
from serving_ui.revisions.changes import current_revision
from serving_ui.revisions.revision_signal import revision_committed
from serving_ui.snapshots import snapshot_cache
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.snapshots.cache_writer import SnapshotCacheWriter
from serving_ui.snapshots.change_listener import ChangeListener

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 1.0
SCHEMA_CHECK_SECONDS = 10.0  # between two checks whether the database is newer than this code
RECONNECT_SECONDS = 0.2
STALE_SECONDS = 5.0  # without a successful read, `check_health` reports the database
CATCH_UP_TIMEOUT_SECONDS = 1.0
CATCH_UP_POLL_SECONDS = 0.005
DATABASE_TIMEOUT_SECONDS = 3.0  # a starting process then loads the snapshot cache


class SnapshotFollower:
    """One per gateway process. While the database is unreachable, the last snapshot stays in service."""

    def __init__(self, holder: SnapshotHolder) -> None:
        self.holder = holder
        self.process = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._current_at = 0.0  # monotonic: when the snapshot was last known to be the newest; 0: never
        self._problem = ""  # why it may be out of date
        self._builder = SnapshotBuilder()
        self._listener = ChangeListener()
        self.worker = WorkerHealth()
        self._has_joined = False
        self._acknowledged_at = 0.0  # monotonic
        self.sure_until = math.inf
        """Monotonic. Until then changes wait for this process. Later a change may have been answered without it, so a query calls
        `catch_up` first. Infinite while the database is unreachable."""
        self._cached_in_service: snapshot_cache.CachedSnapshot | None = (
            None  # in service until the database has answered
        )
        self._schema = KnownMigrations()
        self._schema_checked_at = -math.inf
        self.newer_database_warning: str | None = None
        """A sentence, if the database is newer than this code."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-follower", daemon=True)
        self._cache_writer = SnapshotCacheWriter(holder, path=settings.SNAPSHOT_CACHE)
        self.check_cache_health = self._cache_writer.check_health
        self._database_timeout = threading.Timer(DATABASE_TIMEOUT_SECONDS, self._serve_cached)

    def start(self) -> None:
        self._thread.start()
        self._database_timeout.daemon = True
        self._cache_writer.start()
        self._database_timeout.start()  # a database may accept the connection and then never answer

    def stop(self) -> None:
        self._stop.set()
        self._database_timeout.cancel()
        revision_committed.notify()
        self._thread.join(5)
        self._cache_writer.stop()

    async def catch_up(self) -> None:
        """For a query after `sure_until`, for example in a process that was suspended. Returns once the changes that it missed
        are in service. If the database does not answer in time, the last snapshot serves the query."""
        until = time.monotonic() + CATCH_UP_TIMEOUT_SECONDS
        while time.monotonic() > self.sure_until:
            if time.monotonic() > until:
                self.sure_until = math.inf
            await asyncio.sleep(CATCH_UP_POLL_SECONDS)

    def check_health(self) -> str | None:
        """A sentence for the operator if the snapshot may be out of date."""
        if self._cached_in_service:
            return (
                "The database has not answered since this process started, so it serves the snapshot cache of its data folder, "
                f"which is {self._cached_in_service.age:.0f} s old. Later changes are not served yet."
            )
        if not self._current_at:
            return self._problem or None
        age = time.monotonic() - self._current_at
        if not self._problem and age < STALE_SECONDS:
            return None
        why = self._problem or "The database does not answer."
        return f"{why} Changes of the last {age:.0f} s are not served yet."

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
                self._listener.wait()
            except (DatabaseError, InterfaceError) as error:
                self._on_error("The database is unreachable.", error)
                close_old_connections()
            except Exception as error:  # this thread must not end before its gateway
                self._on_error("The snapshot cannot be built; the log has the reason.", error)
        try:
            gateways.leave(process=self.process)
        except (DatabaseError, InterfaceError):
            log.warning(
                "The database is unreachable, so the row of this process is deleted later instead of now."
            )
        connection.close()

    def _follow(self) -> None:
        """Puts the newest snapshot into service and acknowledges it, at least every HEARTBEAT_SECONDS."""
        if not self._has_joined:
            # The first build takes long, so it precedes joining: after that every change waits for this process.
            current_revision()
            self._database_timeout.cancel()
            self._builder.build()
            gateways.join(process=self.process)
            self.holder.rank_and_count = gateways.rank_and_count(process=self.process)
            self._has_joined = True
        snapshot = self._builder.build()
        if snapshot is not self.holder.current:
            self.holder.replace(snapshot)
            self._cached_in_service = None
            self._acknowledge(revision=snapshot.revision)
        else:
            if time.monotonic() - self._acknowledged_at >= HEARTBEAT_SECONDS:
                self._acknowledge(revision=snapshot.revision)
            self.holder.rank_and_count = gateways.rank_and_count(process=self.process)
        self._problem, self._current_at = "", time.monotonic()
        self.worker.refresh()
        self._check_schema()

    def _check_schema(self) -> None:
        if time.monotonic() - self._schema_checked_at < SCHEMA_CHECK_SECONDS:
            return
        self._schema_checked_at, before = time.monotonic(), self.newer_database_warning
        self.newer_database_warning = self._schema.unknown_migrations_warning()
        if self.newer_database_warning and self.newer_database_warning != before:
            log.warning(self.newer_database_warning)

    def _acknowledge(self, *, revision: int) -> None:
        began = time.monotonic()
        gateways.acknowledge(process=self.process, revision=revision, limits=self.holder.limits_mode)
        self._acknowledged_at = time.monotonic()
        self.sure_until = began + gateways.LIVENESS_TIMEOUT.total_seconds()

    def _serve_cached(self) -> None:
        """Puts the cached snapshot into service if this process has not read the database yet."""
        if self.holder.current.revision or self._cached_in_service:
            return
        cached = snapshot_cache.load(path=settings.SNAPSHOT_CACHE)
        if cached and not self.holder.current.revision:
            self._cached_in_service = cached
            self.holder.replace(cached.snapshot)

    def _on_error(self, problem: str, error: Exception) -> None:
        """The last snapshot stays in service. Logs a problem once, however long it lasts."""
        if problem != self._problem:
            is_connection_error = isinstance(error, OperationalError | InterfaceError)  # needs no traceback
            why = f" ({' '.join(str(error).split())})" if is_connection_error else ""
            log.warning(
                "%s The last snapshot keeps serving.%s",
                problem,
                why,
                exc_info=None if is_connection_error else error,
            )
        else:  # not on the first error: a connection that broke while the process was suspended is reopened at once
            self.sure_until = math.inf
        self._problem, self._has_joined = problem, False
        self._serve_cached()
        self._stop.wait(RECONNECT_SECONDS)
