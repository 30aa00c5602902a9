"""The worker and beat as Celery has them, with signs of life from the loop that does the work.

A broker that is away is no reason to end them: between two attempts to reach it they give signs too.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from celery.beat import PersistentScheduler
from celery.bootsteps import RUN  # type: ignore[attr-defined]  # which its types leave out
from celery.schedules import schedule
from celery.worker import consumer, state

from serving_ui.start.liveness import EVERY_SECONDS, Sign

log = logging.getLogger(__name__)
POOL_SECONDS = 300.0  # a pool all of whose threads have been busy for this long hangs


class Consumer(consumer.Consumer):
    """What takes messages in the worker. Its loop gives a sign as long as the pool takes tasks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sign = Sign()
        self._is_pool_asked = False
        self._pool_answered_at = time.monotonic()

    def perform_pending_operations(self) -> None:
        """Called in each round of the loop for a broker of files."""
        super().perform_pending_operations()
        if self.blueprint.state == RUN:  # the last call comes after the pool has ended
            self._show_life()

    def register_with_event_loop(self, hub: Any) -> None:
        """Called before the loop for a broker with sockets."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVERY_SECONDS, self._show_life)

    def ensure_connected(self, connection: Any) -> Any:
        """As Celery's, for as long as it takes."""

        def say(error: Exception, seconds: float) -> None:
            words = " ".join(str(error).split())
            log.warning(
                "The broker %s is away (%s). Trying again in %.0f s.", connection.as_uri(), words, seconds
            )

        def between_attempts() -> None:
            state.maybe_shutdown()
            self._sign.give()

        return connection.ensure_connection(say, callback=between_attempts)

    def _show_life(self) -> None:
        if not self._is_pool_asked:
            self._is_pool_asked = True
            self.pool.apply_async(int, callback=self._note_answer)
        if time.monotonic() - self._pool_answered_at < POOL_SECONDS:
            self._sign.give()

    def _note_answer(self, _nothing: int) -> None:
        self._pool_answered_at = time.monotonic()
        self._is_pool_asked = False


class Every(schedule):
    """So many seconds apart. A task that ran in the future, because the clock was set back since, is due."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        left = super().remaining_estimate(last_run_at)
        return timedelta(0) if left.total_seconds() > self.seconds else left


class Scheduler(PersistentScheduler):
    """What beat runs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._sign = Sign()
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> Any:
        self._heap = None  # when each task is due was reckoned by a clock that may have been set since
        pause = super().tick(*args, **options)
        self._sign.give()
        return pause

    def _ensure_connected(self) -> Any:
        def say(error: Exception, seconds: float) -> None:
            words = " ".join(str(error).split())
            log.warning("The broker is away (%s). Trying again in %.0f s.", words, seconds)

        return self.connection.ensure_connection(say, callback=self._sign.give)
