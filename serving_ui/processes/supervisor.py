"""Keeps the processes of `up` running until it is told to stop.

A child that ends is started again, after a pause that doubles each time; one whose heartbeat is overdue is killed first. A child that
ends five times in a row just after its start stops everything, with its last lines of output, unless its program is optional. SIGINT, SIGTERM and SIGHUP stop everything.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import FrameType

from serving_ui.bootstrap.errors import StartError
from serving_ui.processes.accept_queue import drain_accept_queue
from serving_ui.processes.child import POLL_SECONDS, Child, stop_all
from serving_ui.processes.liveness import AwakeClock
from serving_ui.processes.programs import Program
from serving_ui.processes.reaper import Reaper

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUICK_SECONDS = 10.0  # a child that ends sooner than this after its start counts as a quick failure
QUICK_FAILURES = 5
MAX_PAUSE_SECONDS = 60.0
IDLE_SECONDS = 0.5


class Supervisor:
    """Runs programs, started in the given order, and calls `when_ready` once `is_ready` returns True.

    `sockets`: listening sockets that programs inherit. While such a program is restarted, clients wait in the accept queue.
    """

    def __init__(
        self,
        programs: dict[str, Program],
        *,
        env: dict[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None],
    ) -> None:
        self._events: SimpleQueue[Child | None] = SimpleQueue()  # a child that has ended; None: stop
        self._children = [
            Child(
                name=name,
                command=program.command,
                env=env,
                on_exit=self._events.put,
                files=program.files,
                stop_seconds=program.stop_seconds,
                has_heartbeats=program.has_heartbeats,
            )
            for name, program in programs.items()
        ]
        self._sockets = sockets
        self._clock = AwakeClock()
        self._optional = {name for name, program in programs.items() if program.is_optional}
        self._failures = dict.fromkeys(programs, 0)
        self._restarts: dict[Child, float] = {}  # children that have ended, with the time to start them again
        self._is_ready = is_ready
        self._when_ready = when_ready
        self._was_ready = False
        self._reaper: Reaper

    def run(self) -> None:
        """Returns after a stop signal, when all processes have ended. Raises StartError when a child ends again and again."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, STOP_SIGNALS
        )  # `up` blocks them while it becomes the supervisor
        self._reaper = Reaper()
        try:
            for child in self._children:
                self._start(child)
            while self._handle_event():
                pass
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(None)

    def _handle_event(self) -> bool:
        """Handle one event, or check all children if none came. Returns False when told to stop."""
        try:
            child = self._events.get(timeout=self._wait_seconds())
        except Empty:
            self._check_children()
            return True
        if child is not None:
            self._on_child_exit(child)
        return child is not None

    def _wait_seconds(self) -> float:
        """Seconds until the next restart, and at most IDLE_SECONDS: a signal that arrives just before the wait does not end it."""
        if not self._was_ready:
            return POLL_SECONDS
        return max(0.0, min([IDLE_SECONDS, *(at - time.monotonic() for at in self._restarts.values())]))

    def _check_children(self) -> None:
        awake = self._clock.passed()
        self._reaper.check(awake)
        for child in self._children:
            child.check_heartbeat(awake)
        for child in [child for child, at in self._restarts.items() if at <= time.monotonic()]:
            del self._restarts[child]
            self._start(child)
        required = [child for child in self._children if child.name not in self._optional]
        if not self._was_ready and all(child.is_running() for child in required) and self._is_ready():
            self._was_ready = True
            self._when_ready()

    def _start(self, child: Child) -> None:
        child.start()
        self._reaper.add(child.group)

    def _on_child_exit(self, child: Child) -> None:
        """Plan its restart."""
        self._reaper.remove(child.group)
        quick = time.monotonic() - child.started_at < QUICK_SECONDS
        failures = self._failures[child.name] + 1 if quick else 1
        self._failures[child.name] = failures
        if failures >= QUICK_FAILURES and child.name not in self._optional:
            output = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
            raise StartError(
                f"The {child.name} ended {failures} times in a row just after its start, so everything is "
                f"stopped. It {child.exit_description()}, and its last lines were:\n{output}"
            )
        pause = min(MAX_PAUSE_SECONDS, 0.1 * 2 ** min(failures - 1, 10))
        print(f"The {child.name} {child.exit_description()}; starting it again.", file=sys.stderr, flush=True)
        self._restarts[child] = time.monotonic() + pause

    def _stop(self) -> None:
        """Let every child finish its work. A second signal kills them."""
        if self._sockets and any(child.is_running() for child in self._children):
            drain_accept_queue(self._sockets)
        for each in self._sockets:
            each.close()
        stop_all(self._children, wait_for_signal=self._wait_for_signal)
        self._reaper.stop()

    def _wait_for_signal(self, seconds: float) -> bool:
        try:
            return self._events.get(timeout=seconds) is None
        except Empty:
            return False
