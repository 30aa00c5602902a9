"""The supervisor's end of the pipe to reaper_script.py, which ends the children when the supervisor itself is killed."""

from __future__ import annotations

import os
import subprocess
import sys

from serving_ui.processes import reaper_script
from serving_ui.processes.liveness import SILENCE_SECONDS, HeartbeatMonitor


class Reaper:
    """Runs reaper_script.py, and starts it again when it has ended or sends no heartbeats."""

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(reaper_script.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._heartbeats = (
            HeartbeatMonitor(os.dup(self._process.stdout.fileno()), start_seconds=SILENCE_SECONDS)
            if self._process.stdout
            else None
        )
        for group in self._groups:
            self._write(f"+{group}")

    def add(self, group: int) -> None:
        """End this process group when this process has ended."""
        self._groups.add(str(group))
        self._write(f"+{group}")

    def remove(self, group: int) -> None:
        """The process group has ended, and the system may give its number to another."""
        self._groups.discard(str(group))
        self._write(f"-{group}")

    def check(self, awake: float) -> None:
        """Restart it if needed. `awake` is as in HeartbeatMonitor.read."""
        self._write("?")
        if self._heartbeats is not None:
            self._heartbeats.read(awake)
        if self._process.poll() is not None or (self._heartbeats is not None and self._heartbeats.is_overdue):
            print("The reaper process has ended; starting it again.", file=sys.stderr, flush=True)
            self.stop()
            self._start()

    def _write(self, line: str) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; the next check starts another

    def stop(self) -> None:
        """End it, once there are no children left."""
        self._process.kill()
        self._process.wait()
