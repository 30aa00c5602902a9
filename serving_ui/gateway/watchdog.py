"""Aborts a query at its deadlines (timeouts.py) and when the caller disconnects.

A fast query only costs an entry in a set. One that takes longer than 0.1 to 0.2 s gets a timer and a task that waits for ASGI's
`http.disconnect`; from then on the upstream connection is closed as soon as the caller disconnects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from time import monotonic
from typing import Any, TypeVar

from serving_ui.gateway.connection import CallerDisconnected, Connection, TimedOut, UpstreamFault
from serving_ui.gateway.timeouts import Timeouts

_TICK_SECONDS = 0.1
_GRACE_SECONDS = 2.0

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T = TypeVar("T")


class DeadlineWheel:
    """One timer per event loop that starts the watchdogs of queries which take long; most are over before it fires.

    A watchdog is started at the second tick after it was added: 0.1 to 0.2 s later.
    """

    __slots__ = ("_current", "_previous", "_timer")

    def __init__(self) -> None:
        self._current: set[RequestWatchdog] = set()
        self._previous: set[RequestWatchdog] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watchdog: RequestWatchdog) -> None:
        self._current.add(watchdog)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop)

    def discard(self, watchdog: RequestWatchdog) -> None:
        if watchdog in self._current:
            self._current.remove(watchdog)
        else:
            self._previous.discard(watchdog)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        due, self._previous, self._current = self._previous, self._current, set()
        for watchdog in due:
            watchdog.start_watching()
        self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop) if self._previous else None


class RequestWatchdog:
    """Create it when the query begins, `watch` each connection that works for it, `stop` it at the end."""

    __slots__ = (
        "_attempt_started",
        "_cancel_reason",
        "_connection",
        "_fault",
        "_is_running",
        "_is_stopped",
        "_listener",
        "_receive",
        "_sleeping",
        "_started",
        "_task",
        "_timer",
        "_wheel",
        "gave_up",
        "resends",
        "timeouts",
        "was_sent",
    )

    def __init__(
        self, receive: Receive, timeouts: Timeouts, wheel: DeadlineWheel, task: asyncio.Task[Any] | None
    ) -> None:
        self._wheel = wheel
        self._task = task
        self._receive = receive
        self.timeouts = timeouts
        self._started = self._attempt_started = monotonic()
        self._connection: Connection | None = None
        self._is_stopped = False
        self.gave_up = False
        """The query's task was cancelled, because the caller does not read its answer."""
        self.resends = 0
        """How often the client sent the request again because the connection had been closed unread."""
        self.was_sent = False
        """The request was written to a connection, so the provider may have read it."""
        self._fault: UpstreamFault | None = None
        self._sleeping: asyncio.Future[None] | None = None
        self._is_running = False
        self._cancel_reason: UpstreamFault | None = None
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        wheel.add(self)

    @property
    def has_ended(self) -> bool:
        """The caller has disconnected or the total timeout has passed: no further attempt is possible."""
        return self._fault is not None

    def watch(self, connection: Connection, *, now: float) -> None:
        """Make `connection` fail when the caller disconnects or a deadline passes. Raises if that has already happened."""
        if self._fault is not None:
            connection.close()
            raise self._fault
        self._connection = connection
        self._attempt_started = now

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that has no connection to watch yet. Cancels it and raises when the caller disconnects or a deadline passes."""
        if self._fault is not None:
            work.close()
            raise self._fault
        self._connection, self._is_running, self._attempt_started = None, True, monotonic()
        try:
            return await work
        except asyncio.CancelledError:
            if self._cancel_reason is None or self._task is None:
                raise
            self._task.uncancel()
            fault, self._cancel_reason = self._cancel_reason, None
            raise fault from None
        finally:
            self._is_running = False

    async def sleep(self, seconds: float) -> None:
        """Wait before a retry. Raises as soon as the caller disconnects or a deadline passes."""
        if self._fault is not None:
            raise self._fault
        self._connection = None
        loop = asyncio.get_running_loop()
        self._sleeping = loop.create_future()
        timer = loop.call_later(seconds, _wake, self._sleeping)
        try:
            await self._sleeping
        finally:
            timer.cancel()
            self._sleeping = None

    def stop(self) -> None:
        """The query is over or has its answer. May be called more than once."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._connection = self._fault = None
        self._wheel.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        self._listener = self._timer = self._task = None

    def start_watching(self) -> None:
        """Set the timer and listen for the caller's disconnect."""
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        self._watch_first_byte()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(CallerDisconnected("the caller disconnected"))

    def _watch_first_byte(self) -> None:
        due = min(self._attempt_started + self.timeouts.first_byte, self._started + self.timeouts.total)
        self._call_at(due, self._first_byte_due)

    def _first_byte_due(self) -> None:
        now, connection = monotonic(), self._connection
        if now >= self._started + self.timeouts.total:
            self._total_due()
        elif connection is not None and connection.has_received:
            self._call_at(self._started + self.timeouts.total, self._total_due)
        else:
            if now >= self._attempt_started + self.timeouts.first_byte:
                self._abort(TimedOut(f"it did not begin to answer within {self.timeouts.first_byte:g} s"))
                self._attempt_started = now  # a fallback may be tried now
            self._watch_first_byte()

    def _total_due(self) -> None:
        self._end(TimedOut(f"it did not finish its answer within {self.timeouts.total:g} s"))
        # Sending to a caller that does not read never returns, so the task is cancelled if the fault does not end it.
        self._call_at(monotonic() + _GRACE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self.gave_up = True
        if self._task is not None:
            self._task.cancel()

    def _call_at(self, due: float, callback: Callable[[], None]) -> None:
        """Set the only timer of this query to `due`, a monotonic time in seconds."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(due - monotonic(), 0), callback)

    def _end(self, fault: UpstreamFault) -> None:
        """End the query with `fault`, whatever it does now or next."""
        if self._fault is None:
            self._fault = fault
        self._abort(fault)
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_exception(fault)

    def _abort(self, fault: UpstreamFault) -> None:
        """End what the query does now with `fault`; a fallback may follow."""
        if self._connection is not None:
            self._connection.fail(fault)
        elif self._is_running and self._cancel_reason is None and self._task is not None:
            self._cancel_reason = fault
            self._task.cancel()


def _wake(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
