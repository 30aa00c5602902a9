"""Keeps the product's processes running until it is told to stop.

A child that ends is started again, a little later each time; one that ends quickly again and again is given
up, with its last words. SIGINT, SIGTERM and SIGHUP stop everything cleanly. Knows nothing of Django.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType

from serving_ui.start import warden
from serving_ui.start.child import Child
from serving_ui.start.problem import StartProblem

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUICK_SECONDS = 10.0  # a child that ends sooner than this after its start has failed quickly
QUICK_FAILURES = 5
STOP_SECONDS = 6.0  # then it is killed: what it was doing is found again by the next sweep
KILL_SECONDS = 2.0
LOOK_SECONDS = 0.05  # how often readiness is looked at
IDLE_SECONDS = 0.5


class Supervisor:
    """Runs commands, in the order given, and one action when they are ready."""

    def __init__(
        self,
        commands: dict[str, list[str]],
        *,
        env: dict[str, str] | None = None,
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None],
    ) -> None:
        self._news: SimpleQueue[Child | None] = SimpleQueue()  # a child that has ended; None: stop
        self._children = [
            Child(name=name, command=command, env=env, ended=self._news.put)
            for name, command in commands.items()
        ]
        self._failures = dict.fromkeys(commands, 0)
        self._starts: dict[Child, float] = {}  # when to start those that have ended
        self._is_ready = is_ready
        self._when_ready = when_ready
        self._said_ready = False
        self._warden = Warden()

    def run(self) -> None:
        """Returns once told to stop, with nothing left behind; raises StartProblem when a child is given up."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._hear)
        try:
            for child in self._children:
                self._start(child)
            while self._goes_on():
                pass
        finally:
            self._stop()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._news.put(None)

    def _goes_on(self) -> bool:
        """One thing that happened, or one look around. False when told to stop."""
        try:
            news = self._news.get(timeout=self._pause())
        except Empty:
            self._look_around()
            return True
        if news is not None:
            self._plan_restart(news)
        return news is not None

    def _pause(self) -> float:
        """Until the next thing to look at. Never for ever: a signal that comes just before a wait begins does not end it."""
        if not self._said_ready:
            return LOOK_SECONDS
        return max(0.0, min(self._starts.values()) - time.monotonic()) if self._starts else IDLE_SECONDS

    def _look_around(self) -> None:
        for child in [child for child, at in self._starts.items() if at <= time.monotonic()]:
            del self._starts[child]
            self._start(child)
        if not self._said_ready and all(child.is_running() for child in self._children) and self._is_ready():
            self._said_ready = True
            self._when_ready()

    def _start(self, child: Child) -> None:
        child.start()
        self._warden.tell(f"+{child.group}")

    def _plan_restart(self, child: Child) -> None:
        self._warden.tell(f"-{child.group}")
        quick = time.monotonic() - child.started_at < QUICK_SECONDS
        failures = self._failures[child.name] + 1 if quick else 1
        self._failures[child.name] = failures
        if failures >= QUICK_FAILURES:
            said = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
            raise StartProblem(
                f"The {child.name} ended {failures} times in a row just after its start, so everything is "
                f"stopped. It {child.outcome()}, and its last lines were:\n{said}"
            )
        pause = 0.1 * 2 ** (failures - 1)
        print(f"The {child.name} {child.outcome()}; starting it again.", file=sys.stderr, flush=True)
        self._starts[child] = time.monotonic() + pause

    def _stop(self) -> None:
        """Ask every child, wait, then kill what is left. A second Ctrl-C cuts the waiting short."""
        for child in self._children:
            child.stop()
        self._await_end(STOP_SECONDS)
        for child in self._children:
            child.kill()
        self._await_end(KILL_SECONDS)
        self._warden.dismiss()

    def _await_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not all(child.is_over for child in self._children):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            try:
                # In short waits: of signals in quick succession the system may give one to another thread, which wakes nobody here.
                news = self._news.get(timeout=min(left, LOOK_SECONDS))
            except Empty:
                continue
            if news is None:
                return


class Warden:
    """Our end of the pipe to warden.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(warden.__file__)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def tell(self, line: str) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # somebody ended it; the product runs on, only less well guarded

    def dismiss(self) -> None:
        """Nothing is left to look after."""
        self._process.kill()
        self._process.wait()
