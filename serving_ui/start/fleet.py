"""Keeps a number of equal workers running on one port, and replaces them one by one without a request failing.

Each worker has a listening socket of its own, among which the kernel divides the callers evenly (with one socket for all, 28 of
32 connections came to one of four). The sockets belong to this process, which hands a worker's to its successor: while the one
goes and the other comes, callers wait in the socket's queue. SIGHUP replaces all workers, each only once its successor is
ready. SIGTERM and SIGINT let them finish what they are answering; a second one ends them at once. A worker that ends by itself
is started again.
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

from serving_ui.start import port
from serving_ui.start.child import Child
from serving_ui.start.problem import StartProblem
from serving_ui.start.supervisor import Warden

READY_SECONDS = 60.0  # a successor that is not ready by then is given up, and its predecessor stays
STEADY_SECONDS = 10.0  # a worker that ends sooner than this after its start has failed
MOST_FAILURES = 5  # of the first workers: then the reason is no accident
LONGEST_PAUSE = 5.0
FAREWELL_SECONDS = 2.0  # beyond what the workers have been given


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
        self._leaving: set[Child] = set()
        self._sockets_of: dict[Child, socket.socket] = {}
        self._starts: dict[socket.socket, float] = {}  # when to start one in the place of one that failed
        self._failures = 0
        self._is_asked = False  # to replace all, once nobody is being replaced
        self._old: deque[Child] = deque()  # to be replaced
        self._successor: Child | None = None
        self._said_ready = False
        self._warden = Warden()

    def run(self) -> None:
        """Returns once told to stop, with nothing left behind; raises StartProblem when no worker can live."""
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

    def _pause(self) -> float | None:
        """Until the next thing to look at; for ever when all is well."""
        times = [*self._starts.values()]
        if self._successor:
            times.append(self._successor.started_at + READY_SECONDS)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _look_around(self) -> None:
        now = time.monotonic()
        for due in [each for each, at in self._starts.items() if at <= now]:
            del self._starts[due]
            self._crew.add(self._start(due))
        if self._successor and now >= self._successor.started_at + READY_SECONDS:
            _say(f"The new worker was not ready within {READY_SECONDS:.0f} s. The old ones go on.")
            self._give_up_replacing()

    def _start(self, listener: socket.socket, *, successor: bool = True) -> Child:
        hears, says = os.pipe()
        child = Child(
            name="worker",
            command=self._command(listener.fileno(), says, successor),
            env=self._env,
            ended=lambda ended: self._news.put(News("ended", ended)),
            files=(listener.fileno(), says),
        )
        child.start()
        self._sockets_of[child] = listener
        os.close(says)
        threading.Thread(target=self._await_ready, args=[child, hears], daemon=True).start()
        self._warden.tell(f"+{child.group}")
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
        self._leaving.add(child)
        child.stop()

    def _give_up_replacing(self) -> None:
        self._old.clear()
        if self._successor:
            self._leaving.add(self._successor)
            self._successor.kill()
            listener, self._successor = self._sockets_of[self._successor], None
            self._fill(listener)

    def _mourn(self, child: Child) -> None:
        """One has ended. Unless it was told to, another takes its place."""
        self._warden.tell(f"-{child.group}")
        self._ready.discard(child)
        listener = self._sockets_of.pop(child)
        if child in self._leaving:
            self._leaving.discard(child)
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
                raise StartProblem(_last_words(child, self._failures))
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
        for child in left:
            child.stop()
        deadline = time.monotonic() + self._patience + FAREWELL_SECONDS
        while any(not child.is_over for child in left):
            try:
                news = self._news.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if news.kind == "stop":
                break
        for child in left:
            child.kill()
        self._warden.dismiss()


def _last_words(child: Child, failures: int) -> str:
    said = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
    return (
        f"The workers ended {failures} times in a row just after their start, so everything is stopped. "
        f"The last one {child.outcome()}, and its last lines were:\n{said}"
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
