"""Keeps a number of equal workers running on one port, and replaces them one by one without a request failing.

Each worker has a listening socket of its own, among which the kernel divides the callers evenly (with one socket for all, 28 of
32 connections came to one of four). The sockets belong to this process, which hands a worker's to its successor: while the one
goes and the other comes, callers wait in the socket's queue. SIGHUP replaces all workers, each only once its successor is
ready. SIGTERM and SIGINT let them finish what they are answering; a second one ends them at once. A worker that ends by itself
is started again. One that gives no sign of life gets a successor, which takes the callers that wait, and is ended if it stays silent.
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
from serving_ui.start import port
from serving_ui.start.child import Child, end
from serving_ui.start.liveness import AwakeClock
from serving_ui.start.processes import FAREWELL_SECONDS
from serving_ui.start.supervisor import Warden

READY_SECONDS = 60.0  # a successor that is not ready by then is given up, and its predecessor stays
STEADY_SECONDS = 10.0  # a worker that ends sooner than this after its start has failed
MOST_FAILURES = 5  # of the first workers: then the reason is no accident
LONGEST_PAUSE = 5.0
SILENT_SECONDS = (
    4.0  # then it is replaced like one that SIGHUP replaces: if it only slept, it finishes what it has
)
IDLE_SECONDS = 0.5


class News(NamedTuple):
    """What happened: a signal, or something with a child."""

    kind: str  # "stop", "stop at once", "renew", "ready", "ended"
    child: Child | None = None


class Fleet:
    """`command` is what a worker runs, given the file of its socket, the file to which it writes a byte once it is ready, and
    whether it is a successor: callers have been taken already, and shall wait rather than be refused.

    `sockets` listen, all on the same port: one for each worker.
    """

    def __init__(
        self,
        command: Callable[[int, int, bool], list[str]],
        *,
        sockets: Sequence[socket.socket],
        env: dict[str, str] | None,
        patience: float,
        when_ready: Callable[[], None],
    ) -> None:
        self._command, self._sockets, self._env = command, sockets, env
        self._patience = patience
        self._when_ready = when_ready
        self._news: SimpleQueue[News] = SimpleQueue()
        self._crew: set[Child] = set()  # those that shall answer
        self._ready: set[Child] = set()
        self._leaving: dict[Child, float] = {}  # for how many seconds they may still stay
        self._sockets_of: dict[Child, socket.socket] = {}
        self._starts: dict[socket.socket, float] = {}  # when to start one in the place of one that failed
        self._failures = 0
        self._is_asked = False  # to replace all, once nobody is being replaced
        self._old: deque[Child] = deque()  # to be replaced
        self._successor: Child | None = None
        self._said_ready = False
        self._warden = Warden()
        self._clock = AwakeClock()

    def run(self) -> None:
        """Returns once told to stop, with nothing left behind; raises StartError when no worker can live."""
        for number, kind in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "renew")):
            signal.signal(number, self._hearing(kind))
        try:
            for each in self._sockets:
                self._crew.add(self._start(each, successor=False))
            while self._goes_on():
                pass
        finally:
            self._stop()

    def _hearing(self, kind: str) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._news.put(News(kind))

    def _goes_on(self) -> bool:
        try:
            news = self._news.get(timeout=self._pause())
        except Empty:
            self._look_around()
            return True
        if news.kind == "renew":
            self._is_asked = True
            self._replace_next()
        elif news.kind == "ready" and news.child:
            self._welcome(news.child)
        elif news.kind == "ended" and news.child:
            self._mourn(news.child)
        return news.kind != "stop"

    def _pause(self) -> float:
        """Until the next thing to look at. Never for long: signs of life are listened for."""
        now = time.monotonic()
        return max(0.0, min([IDLE_SECONDS, *(at - now for at in self._starts.values())]))

    def _look_around(self) -> None:
        now, awake = time.monotonic(), self._clock.passed()
        self._warden.look(awake)
        self._watch(awake)
        for due in [each for each, at in self._starts.items() if at <= now]:
            del self._starts[due]
            self._crew.add(self._start(due))
        if self._successor and now >= self._successor.started_at + READY_SECONDS:
            _say(f"The new worker was not ready within {READY_SECONDS:.0f} s. The old ones go on.")
            self._give_up_replacing()

    def _watch(self, awake: float) -> None:
        """Replaces those that are silent, and ends those that stay so."""
        for child in (*self._crew, *self._leaving):
            if child.signs is None:
                continue
            if child in self._ready and not child.signs.has_come:
                child.signs.listen(0.0)  # one of an older version, started by SIGHUP, never gives a sign
                continue
            child.listen(awake)
            is_replaced = child in self._old or child not in self._crew
            if child.signs.has_come and child.signs.silent > SILENT_SECONDS and not is_replaced:
                _say(f"The worker (process {child.group}) is silent; starting another in its place.")
                self._old.append(child)
        self._replace_next()
        for child in self._leaving:
            self._leaving[child] -= awake
            if self._leaving[child] < 0:
                child.kill()

    def _start(self, listener: socket.socket, *, successor: bool = True) -> Child:
        hears, says = os.pipe()
        child = Child(
            name="worker",
            command=self._command(listener.fileno(), says, successor),
            env=self._env,
            ended=lambda ended: self._news.put(News("ended", ended)),
            files=(listener.fileno(), says),
            patience=self._patience + FAREWELL_SECONDS,
        )
        child.start()
        self._sockets_of[child] = listener
        os.close(says)
        threading.Thread(target=self._await_ready, args=[child, hears], daemon=True).start()
        self._warden.add(child.group)
        return child

    def _await_ready(self, child: Child, hears: int) -> None:
        if os.read(hears, 1):
            self._news.put(News("ready", child))
        os.close(hears)

    def _welcome(self, child: Child) -> None:
        """One is ready to answer; if it is a successor, its predecessor may go."""
        self._ready.add(child)
        if child is self._successor:
            self._crew.add(child)
            self._successor = None
            old = self._old.popleft()
            if old in self._crew:
                self._send_away(old)
            self._replace_next()
        if not self._said_ready and len(self._ready & self._crew) == len(self._sockets):
            self._said_ready = True
            self._when_ready()

    def _replace_next(self) -> None:
        if self._is_asked and not self._old and self._successor is None:
            self._is_asked, self._old = False, deque(self._crew)
        while self._old and self._old[0] not in self._crew:  # ended by itself meanwhile
            self._old.popleft()
        if self._old and self._successor is None:
            self._successor = self._start(self._sockets_of[self._old[0]])

    def _send_away(self, child: Child) -> None:
        self._crew.discard(child)
        self._leaving[child] = child.patience
        child.stop()

    def _give_up_replacing(self) -> None:
        self._old.clear()
        if self._successor:
            self._leaving[self._successor] = 0.0
            self._successor.kill()
            listener, self._successor = self._sockets_of[self._successor], None
            self._fill(listener)

    def _mourn(self, child: Child) -> None:
        """One has ended. Unless it was told to, another takes its place."""
        self._warden.remove(child.group)
        self._ready.discard(child)
        listener = self._sockets_of.pop(child)
        if child in self._leaving:
            del self._leaving[child]
        elif child is self._successor:
            _say(f"The new worker {child.outcome()} before it was ready. The old ones go on.")
            self._successor = None
            self._old.clear()
            self._fill(listener)
            self._replace_next()
        else:
            self._crew.discard(child)
            quick = time.monotonic() - child.started_at < STEADY_SECONDS
            self._failures = self._failures + 1 if quick else 1
            if not self._said_ready and self._failures >= MOST_FAILURES:
                raise StartError(_last_words(child, self._failures))
            _say(f"A worker {child.outcome()}; starting another.")
            self._fill(listener)

    def _fill(self, listener: socket.socket) -> None:
        """Sees to it that somebody takes the callers of this socket: later each time that nobody lives long."""
        if not any(self._sockets_of.get(each) is listener for each in (*self._crew, self._successor) if each):
            pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(max(self._failures, 1) - 1, 9))
            self._starts[listener] = time.monotonic() + pause

    def _stop(self) -> None:
        """Lets every worker finish, and kills those that take longer than they have. A second signal cuts it short."""
        left = {*self._crew, *self._leaving, *((self._successor,) if self._successor else ())}
        if any(child in self._ready for child in left):
            port.let_in_who_waits(self._sockets)
        for each in self._sockets:
            each.close()
        end(left, hears_stop=self._hears_stop)
        self._warden.dismiss()

    def _hears_stop(self, seconds: float) -> bool:
        try:
            return self._news.get(timeout=seconds).kind == "stop"
        except Empty:
            return False


def _last_words(child: Child, failures: int) -> str:
    said = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
    return (
        f"The workers ended {failures} times in a row just after their start, so everything is stopped. "
        f"The last one {child.outcome()}, and its last lines were:\n{said}"
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
