"""One long-running process of the product: started in its own process group, watched, and ended with all its descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

from serving_ui.processes.liveness import FILE, SILENCE_SECONDS, HeartbeatMonitor

MAX_LAST_LINES = 10
POLL_SECONDS = 0.05
NOTICE_SECONDS = 3.0  # if stopping takes longer, the processes that still run are printed
KILL_SECONDS = 2.0


class Child:
    """A command that should always be running. Its owner (Supervisor or Fleet) decides when it is started and stopped."""

    def __init__(
        self,
        *,
        name: str,
        command: list[str],
        env: dict[str, str] | None,
        on_exit: Callable[[Child], None],
        files: tuple[int, ...] = (),
        stop_seconds: float,
        has_heartbeats: bool = True,
    ) -> None:
        self.name = name
        self.stop_seconds = stop_seconds  # between SIGTERM and SIGKILL
        self.heartbeats: HeartbeatMonitor | None = None
        self.last_lines: deque[str] = deque(maxlen=MAX_LAST_LINES)
        self.started_at = 0.0
        self.has_ended = True  # the process and all its descendants
        self._command = command
        self._env = env
        self._has_heartbeats = has_heartbeats
        self._files = files  # open files that it inherits under the same numbers
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def group(self) -> int:
        """Its process group, which is also its process id."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """In a session of its own, so that only the supervisor receives a Ctrl-C at the terminal."""
        self.last_lines.clear()
        self.has_ended = False
        self.started_at = time.monotonic()
        read_end, write_end = os.pipe()
        self.heartbeats = HeartbeatMonitor(read_end) if self._has_heartbeats else None
        self._process = subprocess.Popen(
            self._command,
            env={**(os.environ if self._env is None else self._env), FILE: str(write_end)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(*self._files, write_end),
        )
        os.close(write_end)
        if self.heartbeats is None:
            os.close(read_end)
        threading.Thread(target=self._wait_for_exit, args=[self._process], daemon=True).start()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check_heartbeat(self, awake: float) -> None:
        """Kill it when its heartbeat is overdue, so that the supervisor starts it again. `awake` is as in HeartbeatMonitor.read."""
        if self.heartbeats is None or not self.is_running():
            return
        self.heartbeats.read(awake)
        if self.heartbeats.is_overdue:
            print(
                f"The {self.name} (process {self.group}) has sent no heartbeat for {SILENCE_SECONDS:.0f} s or more. It is killed.",
                file=sys.stderr,
                flush=True,
            )
            self.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        if self._process is not None and self.is_running():
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to it and its descendants. Does nothing once they have ended: the system may give the number to others."""
        if self._process is not None and not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def exit_description(self) -> str:
        """How it ended, as a predicate such as 'ended with exit code 1'."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "has not ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _wait_for_exit(self, process: subprocess.Popen[bytes]) -> None:
        """Forward its output until it has ended, then kill its descendants."""
        reader = threading.Thread(target=self._forward_output, args=[process], daemon=True)
        reader.start()
        process.wait()
        self.kill()  # a server that was killed leaves worker processes, which hold the port
        self.has_ended = True
        reader.join(timeout=1)
        self._on_exit(self)

    def _forward_output(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self.last_lines.append(text)
                with contextlib.suppress(
                    OSError
                ):  # after the terminal is closed, the pipe must still be read
                    print(text, file=sys.stderr, flush=True)


def stop_all(children: Collection[Child], *, wait_for_signal: Callable[[float], bool]) -> None:
    """Terminate all children, kill each that exceeds its `stop_seconds`, and return when all have ended.

    `wait_for_signal(seconds)` returns True when another stop signal has arrived; then all are killed at once.
    """
    for child in children:
        child.terminate()
    began, is_notice_printed = time.monotonic(), False
    while left := [child for child in children if not child.has_ended]:
        waited = time.monotonic() - began
        if waited > max(child.stop_seconds for child in left) + KILL_SECONDS:
            break
        for child in left:
            if waited > child.stop_seconds:
                child.kill()
        if waited > NOTICE_SECONDS and not is_notice_printed:
            is_notice_printed = True
            _print_notice(left)
        # Short waits: the system may deliver one of several quick signals to another thread, which does not end this wait.
        if wait_for_signal(POLL_SECONDS):
            break
    for child in children:
        child.kill()
    deadline = time.monotonic() + KILL_SECONDS
    while not all(child.has_ended for child in children) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _print_notice(left: list[Child]) -> None:
    names = ", ".join(sorted({child.name for child in left}))
    longest = max(child.stop_seconds for child in left)
    print(
        f"Waiting up to {longest:.0f} s for running work to finish ({names}). A second Ctrl-C ends it at once.",
        file=sys.stderr,
        flush=True,
    )
