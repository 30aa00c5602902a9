"""Keeps a gateway's snapshot the newest one, from a thread of its own in the gateway's process.

The gateway knows neither rows nor Django; this brings it each new snapshot and acknowledges it to whoever waits.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from serving_ui.endpoints import publication
from serving_ui.endpoints.snapshots import SnapshotBuilder
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.lib import clock

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
HEARTBEAT_POLLS = 10  # a sign of life a second


class Follower:
    """Follows the database; when it is away, the last good snapshot keeps serving."""

    def __init__(self, holder: SnapshotHolder) -> None:
        self.holder = holder
        self.process = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._builder = SnapshotBuilder()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-follower", daemon=True)
        self.is_current = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        polls = 0
        while not self._stop.is_set():
            try:
                self._follow(beat=polls % HEARTBEAT_POLLS == 0)
                self.is_current = True
            except (DatabaseError, InterfaceError) as error:
                if self.is_current:
                    log.warning("The database is away; the last snapshot keeps serving: %s", error)
                self.is_current = False
                close_old_connections()
            except Exception:  # the outermost edge of this thread: it must not die while the gateway lives
                log.exception("The snapshot could not be built; the last one keeps serving")
                self.is_current = False
            polls += 1
            self._stop.wait(POLL_SECONDS)
        try:
            publication.leave(process=self.process)
        except (DatabaseError, InterfaceError):
            log.warning("The database is away; this process is forgotten after a while instead of at once")
        connection.close()

    def _follow(self, *, beat: bool) -> None:
        held = self.holder.current
        fresh = publication.current() != held.revision
        if fresh:
            held = self._builder.build()
            self.holder.replace(held)
        if fresh or beat:
            publication.acknowledge(process=self.process, revision=held.revision, now=clock.now())
