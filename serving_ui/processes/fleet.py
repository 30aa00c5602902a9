"""Keeps a number of identical workers running on one port, and replaces them one by one without failing a request.

Each worker has its own listening socket (SO_REUSEPORT), among which the kernel divides the connections evenly: with one shared socket,
28 of 32 connections came to one of four workers. This process owns the sockets and hands a worker's socket to its successor;
clients that connect in between wait in the accept queue.

SIGHUP replaces all workers, each once its successor is ready. SIGTERM and SIGINT let them finish their requests; a second one
kills them. A worker that ends by itself is started again. A worker without heartbeats gets a successor, which takes over the
accept queue, and is killed if it stays silent.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NamedTuple

from serving_ui.bootstrap.errors import StartError
from serving_ui.processes.accept_queue import drain_accept_queue
from serving_ui.processes.child import Child, stop_all
from serving_ui.processes.liveness import AwakeClock
from serving_ui.processes.programs import CLEANUP_SECONDS
from serving_ui.processes.reaper import Reaper

READY_SECONDS = 60.0  # a successor that is not ready by then is killed, and its predecessor goes on
QUICK_SECONDS = 10.0  # a worker that ends sooner than this after its start counts as a quick failure
MAX_QUICK_FAILURES = 5  # in a row, before all workers have been ready once: then StartError
MAX_PAUSE_SECONDS = 5.0
SUSPECT_SECONDS = (
    4.0  # without a heartbeat: a successor is started, and the worker gets SIGTERM, in case it only paused
)
IDLE_SECONDS = 0.5


class Event(NamedTuple):
    """A signal, or a change of a child."""

    kind: str  # "stop", "replace", "ready", "ended"
    child: Child | None = None


class Fleet:
    """`command(listener, ready, is_successor)` returns what a worker runs: the file descriptor of its socket, the one to which it
    writes a byte once it is ready, and whether it takes over a socket that already accepted connections.

    `sockets` listen on the same port, one for each worker. `stop_seconds` is what a worker has to finish its requests.
    """

    def __init__(
        self,
        command: Callable[[int, int, bool], list[str]],
        *,
        sockets: Sequence[socket.socket],
        env: dict[str, str] | None,
        stop_seconds: float,
        when_ready: Callable[[], None],
    ) -> None:
        self._command, self._sockets, self._env = command, sockets, env
        self._stop_seconds = stop_seconds
        self._when_ready = when_ready
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._active: set[Child] = set()
        self._ready: set[Child] = set()
        self._stopping: dict[Child, float] = {}  # and the seconds until they are killed
        self._socket_of: dict[Child, socket.socket] = {}
        self._restarts: dict[
            socket.socket, float
        ] = {}  # sockets without a worker, with the time to start one
        self._failures = 0
        self._is_replacement_requested = False  # starts when the current replacement has ended
        self._to_replace: deque[Child] = deque()
        self._successor: Child | None = None
        self._was_ready = False
        self._reaper = Reaper()
        self._clock = AwakeClock()

    def run(self) -> None:
        """Returns after a stop signal, when all processes have ended. Raises StartError when no worker becomes ready."""
        for number, kind in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "replace")):
            signal.signal(number, self._signal_handler(kind))
        try:
            for each in self._sockets:
                self._active.add(self._start(each, is_successor=False))
            while self._handle_event():
                pass
        finally:
            self._stop()

    def _signal_handler(self, kind: str) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._events.put(Event(kind))

    def _handle_event(self) -> bool:
        """Handle one event, or check all workers if none came. Returns False when told to stop."""
        try:
            event = self._events.get(timeout=self._wait_seconds())
        except Empty:
            self._check_workers()
            return True
        if event.kind == "replace":
            self._is_replacement_requested = True
            self._replace_next()
        elif event.kind == "ready" and event.child:
            self._on_child_ready(event.child)
        elif event.kind == "ended" and event.child:
            self._on_child_exit(event.child)
        return event.kind != "stop"

    def _wait_seconds(self) -> float:
        """Seconds until the next restart, and at most IDLE_SECONDS, because heartbeats must be read."""
        now = time.monotonic()
        return max(0.0, min([IDLE_SECONDS, *(at - now for at in self._restarts.values())]))

    def _check_workers(self) -> None:
        now, awake = time.monotonic(), self._clock.passed()
        self._reaper.check(awake)
        self._check_heartbeats(awake)
        for due in [each for each, at in self._restarts.items() if at <= now]:
            del self._restarts[due]
            self._active.add(self._start(due))
        if self._successor and now >= self._successor.started_at + READY_SECONDS:
            _print(f"The new worker was not ready within {READY_SECONDS:.0f} s. The old ones keep running.")
            self._abandon_successor()

    def _check_heartbeats(self, awake: float) -> None:
        """Replace workers that are suspect, and kill those whose heartbeat is overdue or whose time to stop is over."""
        for child in (*self._active, *self._stopping):
            if child.heartbeats is None:
                continue
            child.check_heartbeat(awake)
            is_replaced = child in self._to_replace or child not in self._active
            is_suspect = child.heartbeats.has_started and child.heartbeats.silent > SUSPECT_SECONDS
            if is_suspect and not is_replaced:
                _print(
                    f"The worker (process {child.group}) sends no heartbeat; starting another in its place."
                )
                self._to_replace.append(child)
        self._replace_next()
        for child in self._stopping:
            self._stopping[child] -= awake
            if self._stopping[child] < 0:
                child.kill()

    def _start(self, listener: socket.socket, *, is_successor: bool = True) -> Child:
        read_end, write_end = os.pipe()
        child = Child(
            name="worker",
            command=self._command(listener.fileno(), write_end, is_successor),
            env=self._env,
            on_exit=lambda ended: self._events.put(Event("ended", ended)),
            files=(listener.fileno(), write_end),
            stop_seconds=self._stop_seconds + CLEANUP_SECONDS,
        )
        child.start()
        self._socket_of[child] = listener
        os.close(write_end)
        threading.Thread(target=self._wait_until_ready, args=[child, read_end], daemon=True).start()
        self._reaper.add(child.group)
        return child

    def _wait_until_ready(self, child: Child, read_end: int) -> None:
        if os.read(read_end, 1):
            self._events.put(Event("ready", child))
        os.close(read_end)

    def _on_child_ready(self, child: Child) -> None:
        """If it is the successor, stop its predecessor."""
        self._ready.add(child)
        if child is self._successor:
            self._active.add(child)
            self._successor = None
            predecessor = self._to_replace.popleft()
            if predecessor in self._active:
                self._terminate(predecessor)
            self._replace_next()
        if not self._was_ready and len(self._ready & self._active) == len(self._sockets):
            self._was_ready = True
            self._when_ready()

    def _replace_next(self) -> None:
        if self._is_replacement_requested and not self._to_replace and self._successor is None:
            self._is_replacement_requested, self._to_replace = False, deque(self._active)
        while self._to_replace and self._to_replace[0] not in self._active:  # it has ended meanwhile
            self._to_replace.popleft()
        if self._to_replace and self._successor is None:
            self._successor = self._start(self._socket_of[self._to_replace[0]])

    def _terminate(self, child: Child) -> None:
        self._active.discard(child)
        self._stopping[child] = child.stop_seconds
        child.terminate()

    def _abandon_successor(self) -> None:
        self._to_replace.clear()
        if self._successor:
            self._stopping[self._successor] = 0.0
            self._successor.kill()
            listener, self._successor = self._socket_of[self._successor], None
            self._plan_restart(listener)

    def _on_child_exit(self, child: Child) -> None:
        """Plan the start of another worker, unless this one was told to stop."""
        self._reaper.remove(child.group)
        self._ready.discard(child)
        listener = self._socket_of.pop(child)
        if child in self._stopping:
            del self._stopping[child]
        elif child is self._successor:
            _print(
                f"The new worker {child.exit_description()} before it was ready. The old ones keep running."
            )
            self._successor = None
            self._to_replace.clear()
            self._plan_restart(listener)
            self._replace_next()
        else:
            self._active.discard(child)
            quick = time.monotonic() - child.started_at < QUICK_SECONDS
            self._failures = self._failures + 1 if quick else 1
            if not self._was_ready and self._failures >= MAX_QUICK_FAILURES:
                raise StartError(_failure_message(child, self._failures))
            _print(f"A worker {child.exit_description()}; starting another.")
            self._plan_restart(listener)

    def _plan_restart(self, listener: socket.socket) -> None:
        """Plan the start of a worker on this socket unless it has one. The pause doubles with each quick failure."""
        if not any(
            self._socket_of.get(each) is listener for each in (*self._active, self._successor) if each
        ):
            pause = min(MAX_PAUSE_SECONDS, 0.1 * 2 ** min(max(self._failures, 1) - 1, 9))
            self._restarts[listener] = time.monotonic() + pause

    def _stop(self) -> None:
        """Let every worker finish its requests. A second signal kills them."""
        left = {*self._active, *self._stopping, *((self._successor,) if self._successor else ())}
        if any(child in self._ready for child in left):
            drain_accept_queue(self._sockets)
        for each in self._sockets:
            each.close()
        stop_all(left, wait_for_signal=self._wait_for_signal)
        self._reaper.stop()

    def _wait_for_signal(self, seconds: float) -> bool:
        try:
            return self._events.get(timeout=seconds).kind == "stop"
        except Empty:
            return False


def _failure_message(child: Child, failures: int) -> str:
    output = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
    return (
        f"The workers ended {failures} times in a row just after their start, so everything is stopped. "
        f"The last one {child.exit_description()}, and its last lines were:\n{output}"
    )


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
