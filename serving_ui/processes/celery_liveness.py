"""Celery's worker and beat with heartbeats from the loop that does the work.

While the broker is unreachable they send heartbeats between two attempts to connect: restarting them would not help.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from celery.beat import PersistentScheduler
from celery.bootsteps import RUN  # type: ignore[attr-defined]  # missing in its types
from celery.schedules import schedule
from celery.worker import consumer, state

from serving_ui.processes.liveness import EVERY_SECONDS, Heartbeat

log = logging.getLogger(__name__)
POOL_SECONDS = 300.0  # a thread pool that takes no task for this long hangs


class Consumer(consumer.Consumer):
    """Receives the worker's messages. Sends heartbeats from its loop as long as the thread pool takes tasks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heartbeat = Heartbeat()
        self._is_probe_running = False
        self._pool_answered_at = time.monotonic()

    def perform_pending_operations(self) -> None:
        """Called in each round of the loop with the filesystem broker."""
        super().perform_pending_operations()
        if self.blueprint.state == RUN:  # the last call comes after the pool has ended
            self._probe_pool()

    def register_with_event_loop(self, hub: Any) -> None:
        """Called before the loop with a broker that has sockets."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVERY_SECONDS, self._probe_pool)

    def ensure_connected(self, connection: Any) -> Any:
        """As Celery's, without a limit of attempts."""

        def log_error(error: Exception, seconds: float) -> None:
            reason = " ".join(str(error).split())
            log.warning(
                "The broker %s is unreachable (%s). Trying again in %.0f s.",
                connection.as_uri(),
                reason,
                seconds,
            )

        def between_attempts() -> None:
            state.maybe_shutdown()
            self._heartbeat.send()

        return connection.ensure_connection(log_error, callback=between_attempts)

    def _probe_pool(self) -> None:
        """Sends a heartbeat unless the pool has left a probe task unanswered for POOL_SECONDS."""
        if not self._is_probe_running:
            self._is_probe_running = True
            self.pool.apply_async(int, callback=self._on_probe_done)
        if time.monotonic() - self._pool_answered_at < POOL_SECONDS:
            self._heartbeat.send()

    def _on_probe_done(self, _result: int) -> None:
        self._pool_answered_at = time.monotonic()
        self._is_probe_running = False


class Every(schedule):
    """A schedule with a fixed interval, pickled under this name in beat's file. A last run in the future, because the clock was set back since, counts as due."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        left = super().remaining_estimate(last_run_at)
        return timedelta(0) if left.total_seconds() > self.seconds else left


class Scheduler(PersistentScheduler):
    """Beat's scheduler, with heartbeats."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._heartbeat = Heartbeat()
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> Any:
        self._heap = None  # its due times were computed by a clock that may have been set since
        pause = super().tick(*args, **options)
        self._heartbeat.send()
        return pause

    def _ensure_connected(self) -> Any:
        def log_error(error: Exception, seconds: float) -> None:
            reason = " ".join(str(error).split())
            log.warning("The broker is unreachable (%s). Trying again in %.0f s.", reason, seconds)

        return self.connection.ensure_connection(log_error, callback=self._heartbeat.send)
