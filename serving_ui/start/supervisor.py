"""Keeps the product's processes running until it is told to stop.

A child that ends is started again, a little later each time, and one that gives no sign of life is ended; one that ends quickly
again and again is given up, with its last words. SIGINT, SIGTERM and SIGHUP stop everything cleanly. Knows nothing of Django.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import FrameType

from serving_ui.bootstrap.errors import StartError
from serving_ui.start import port, warden
from serving_ui.start.child import LOOK_SECONDS, Child, end
from serving_ui.start.liveness import SILENCE_SECONDS, AwakeClock, Signs
from serving_ui.start.processes import Program

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUICK_SECONDS = 10.0  # a child that ends sooner than this after its start has failed quickly
QUICK_FAILURES = 5
IDLE_SECONDS = 0.5


class Supervisor:
    """Runs programs, in the order given, and one action when they are ready. `sockets` listen, for those that have them as files:
    whoever connects while such a program is started again waits, and is answered by the next one."""

    def __init__(
        self,
        programs: dict[str, Program],
        *,
        env: dict[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None],
    ) -> None:
        self._news: SimpleQueue[Child | None] = SimpleQueue()  # a child that has ended; None: stop
        self._children = [
            Child(
                name=name,
                command=program.command,
                env=env,
                ended=self._news.put,
                files=program.files,
                patience=program.patience,
            )
            for name, program in programs.items()
        ]
        self._sockets = sockets
        self._clock = AwakeClock()
        self._failures = dict.fromkeys(programs, 0)
        self._starts: dict[Child, float] = {}  # when to start those that have ended
        self._is_ready = is_ready
        self._when_ready = when_ready
        self._said_ready = False
        self._warden = Warden()

    def run(self) -> None:
        """Returns once told to stop, with nothing left behind; raises StartError when a child is given up."""
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
        return max(0.0, min([IDLE_SECONDS, *(at - time.monotonic() for at in self._starts.values())]))

    def _look_around(self) -> None:
        awake = self._clock.passed()
        self._warden.look(awake)
        for child in self._children:
            child.listen(awake)
        for child in [child for child, at in self._starts.items() if at <= time.monotonic()]:
            del self._starts[child]
            self._start(child)
        if not self._said_ready and all(child.is_running() for child in self._children) and self._is_ready():
            self._said_ready = True
            self._when_ready()

    def _start(self, child: Child) -> None:
        child.start()
        self._warden.add(child.group)

    def _plan_restart(self, child: Child) -> None:
        self._warden.remove(child.group)
        quick = time.monotonic() - child.started_at < QUICK_SECONDS
        failures = self._failures[child.name] + 1 if quick else 1
        self._failures[child.name] = failures
        if failures >= QUICK_FAILURES:
            said = "\n".join(f"    {line}" for line in child.last_lines) or "    (nothing)"
            raise StartError(
                f"The {child.name} ended {failures} times in a row just after its start, so everything is "
                f"stopped. It {child.outcome()}, and its last lines were:\n{said}"
            )
        pause = 0.1 * 2 ** (failures - 1)
        print(f"The {child.name} {child.outcome()}; starting it again.", file=sys.stderr, flush=True)
        self._starts[child] = time.monotonic() + pause

    def _stop(self) -> None:
        """Let every child finish. A second signal cuts it short."""
        if self._sockets and any(child.is_running() for child in self._children):
            port.let_in_who_waits(self._sockets)
        for each in self._sockets:
            each.close()
        end(self._children, hears_stop=self._hears_stop)
        self._warden.dismiss()

    def _hears_stop(self, seconds: float) -> bool:
        try:
            return self._news.get(timeout=seconds) is None
        except Empty:
            return False


class Warden:
    """Our end of the pipe to warden.py, which is started again when it is gone or silent."""

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(warden.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._signs = (
            Signs(os.dup(self._process.stdout.fileno()), start_seconds=SILENCE_SECONDS)
            if self._process.stdout
            else None
        )
        for group in self._groups:
            self._write(f"+{group}")

    def add(self, group: int) -> None:
        """Ends this process group when we are gone."""
        self._groups.add(str(group))
        self._write(f"+{group}")

    def remove(self, group: int) -> None:
        """The process group is over; its number may be another's."""
        self._groups.discard(str(group))
        self._write(f"-{group}")

    def look(self, awake: float) -> None:
        """See that it is there and reads. `awake` is as in Signs.listen."""
        self._write("?")
        if self._signs is not None:
            self._signs.listen(awake)
        if self._process.poll() is not None or (self._signs is not None and self._signs.are_missing):
            print(
                "The process that guards the others was gone; starting it again.", file=sys.stderr, flush=True
            )
            self.dismiss()
            self._start()

    def _write(self, line: str) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except OSError:
            pass  # somebody ended it; the next look starts another

    def dismiss(self) -> None:
        """Nothing is left to look after."""
        self._process.kill()
        self._process.wait()
