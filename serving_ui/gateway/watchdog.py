"""Watches over one query while a provider answers it: deadlines, and whether the caller is still there.

On the fast path it costs a place in a set. Only a query that takes longer than a moment gets timers and a listener for the caller's
leaving; from then on the upstream connection is cut as soon as the caller goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from time import monotonic
from typing import Any, TypeVar

from serving_ui.gateway.connection import CallerGone, Connection, Late, UpstreamFault
from serving_ui.gateway.timeouts import Timeouts

_ROUND = 0.1
_GRACE = 2.0

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T = TypeVar("T")


class DeadlineWheel:
    """Goes the rounds of all watchdogs of an event loop: one timer for all, because most queries are over before it rings.

    A watchdog is called up in the second round that it sees, so between one and two tenths of a second after it began.
    """

    __slots__ = ("_older", "_timer", "_young")

    def __init__(self) -> None:
        self._young: set[RequestWatchdog] = set()
        self._older: set[RequestWatchdog] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watchdog: RequestWatchdog) -> None:
        self._young.add(watchdog)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_ROUND, self._round, loop)

    def discard(self, watchdog: RequestWatchdog) -> None:
        if watchdog in self._young:
            self._young.remove(watchdog)
        else:
            self._older.discard(watchdog)

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        called, self._older, self._young = self._older, self._young, set()
        for watchdog in called:
            watchdog.look()
        self._timer = loop.call_later(_ROUND, self._round, loop) if self._older else None


class RequestWatchdog:
    """Make it when the query begins, `hold` each connection that works for it, `release` it at the end."""

    __slots__ = (
        "_asked_at",
        "_connection",
        "_ended_by",
        "_fault",
        "_is_released",
        "_is_working",
        "_listener",
        "_pause",
        "_receive",
        "_started",
        "_task",
        "_timer",
        "_wheel",
        "gave_up",
        "repeats",
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
        self._started = self._asked_at = monotonic()
        self._connection: Connection | None = None
        self._is_released = False
        self.gave_up = False
        """The caller did not read its answer, so the query was cancelled."""
        self.repeats = 0
        """Times that a request was sent once more because its connection had been closed."""
        self.was_sent = False
        """The request was written to a provider, who may have read it."""
        self._fault: UpstreamFault | None = None
        self._pause: asyncio.Future[None] | None = None
        self._is_working = False
        self._ended_by: UpstreamFault | None = None
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        wheel.add(self)

    def hold(self, connection: Connection, *, now: float) -> None:
        """From `now` on `connection` fails when the caller leaves or time is up. Raises if that has already happened."""
        if self._fault is not None:
            connection.close()
            raise self._fault
        self._connection = connection
        self._asked_at = now

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that has no connection to hold yet. Cancels it and raises when the caller leaves or time is up."""
        if self._fault is not None:
            work.close()
            raise self._fault
        self._connection, self._is_working, self._asked_at = None, True, monotonic()
        try:
            return await work
        except asyncio.CancelledError:
            if self._ended_by is None or self._task is None:
                raise
            self._task.uncancel()
            fault, self._ended_by = self._ended_by, None
            raise fault from None
        finally:
            self._is_working = False

    async def pause(self, seconds: float) -> None:
        """Wait before the provider is asked again. Raises as soon as the caller leaves or time is up."""
        if self._fault is not None:
            raise self._fault
        self._connection = None
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(seconds, _wake, self._pause)
        try:
            await self._pause
        finally:
            timer.cancel()
            self._pause = None

    def release(self) -> None:
        """The query is over, or has what it asked for. More than once is as good as once."""
        if self._is_released:
            return
        self._is_released = True
        self._connection = self._fault = None
        self._wheel.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        self._listener = self._timer = self._task = None

    def look(self) -> None:
        """The query takes longer than most: from now on its deadlines and its caller are watched."""
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        self._watch_first_byte()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(CallerGone("the caller has left"))

    def _watch_first_byte(self) -> None:
        due = min(self._asked_at + self.timeouts.first_byte, self._started + self.timeouts.total)
        self._call(due, self._first_byte_due)

    def _first_byte_due(self) -> None:
        now, connection = monotonic(), self._connection
        if now >= self._started + self.timeouts.total:
            self._total_due()
        elif connection is not None and connection.replied:
            self._call(self._started + self.timeouts.total, self._total_due)
        else:
            if now >= self._asked_at + self.timeouts.first_byte:
                self._stop(Late(f"it did not begin to answer within {self.timeouts.first_byte:g} s"))
                self._asked_at = now  # another one may be asked now
            self._watch_first_byte()

    def _total_due(self) -> None:
        self._end(Late(f"it did not finish its answer within {self.timeouts.total:g} s"))
        # Whoever has not read what was sent would hold it for ever: writing to them never returns.
        self._call(monotonic() + _GRACE, self._give_up)

    def _give_up(self) -> None:
        self.gave_up = True
        if self._task is not None:
            self._task.cancel()

    def _call(self, due: float, what: Callable[[], None]) -> None:
        """The next thing to happen at `due`, a monotonic time in seconds."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(due - monotonic(), 0), what)

    def _end(self, fault: UpstreamFault) -> None:
        if self._fault is None:
            self._fault = fault
        self._stop(fault)
        if self._pause is not None and not self._pause.done():
            self._pause.set_exception(fault)

    def _stop(self, fault: UpstreamFault) -> None:
        """Whatever works for the query now ends with `fault`."""
        if self._connection is not None:
            self._connection.fail(fault)
        elif self._is_working and self._ended_by is None and self._task is not None:
            self._ended_by = fault
            self._task.cancel()


def _wake(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
