"""One long-running process of the product: started in its own group, heard, and ended with all its offspring."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

LINES_KEPT = 10


class Child:
    """A command that should always run. It belongs to the supervisor, which decides when."""

    def __init__(
        self,
        *,
        name: str,
        command: list[str],
        env: dict[str, str] | None,
        ended: Callable[[Child], None],
        files: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.started_at = 0.0
        self.is_over = True  # ended, and everything that it started ended too
        self._command = command
        self._env = env
        self._files = files  # open ones that it gets under the same numbers
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def group(self) -> int:
        """Its process group, which is also its process id."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Its own session keeps a Ctrl-C at the terminal from it: the supervisor alone hears that."""
        self.last_lines.clear()
        self.is_over = False
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._files,
        )
        threading.Thread(target=self._look_after, args=[self._process], daemon=True).start()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask it to finish."""
        if self._process is not None and self.is_running():
            self._process.terminate()

    def kill(self) -> None:
        """End it and everything that it started. Nothing once it is over: its number may be another's."""
        if self._process is not None and not self.is_over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def outcome(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "has not ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _look_after(self, process: subprocess.Popen[bytes]) -> None:
        """Pass on what it says until it has ended, then clear away what it started."""
        reader = threading.Thread(target=self._pass_on, args=[process], daemon=True)
        reader.start()
        process.wait()
        self.kill()  # a killed server would leave its workers behind, holding the port
        self.is_over = True
        reader.join(timeout=1)
        self._ended(self)

    def _pass_on(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            with contextlib.suppress(OSError):  # a closed terminal must not stop the child at a full pipe
                print(text, file=sys.stderr, flush=True)
