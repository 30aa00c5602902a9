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
from collections.abc import Callable, Collection

from serving_ui.start.liveness import FILE, SILENCE_SECONDS, Signs

LINES_KEPT = 10
LOOK_SECONDS = 0.05
TELL_SECONDS = 3.0  # whoever waits longer for the end is told for what
KILL_SECONDS = 2.0


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
        patience: float,
    ) -> None:
        self.name = name
        self.patience = patience  # seconds that it has to end, once it is asked to
        self.signs: Signs | None = None
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
        hears, says = os.pipe()
        self.signs = Signs(hears)
        self._process = subprocess.Popen(
            self._command,
            env={**(os.environ if self._env is None else self._env), FILE: str(says)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(*self._files, says),
        )
        os.close(says)
        threading.Thread(target=self._look_after, args=[self._process], daemon=True).start()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def listen(self, awake: float) -> None:
        """Look whether it works; end it when it has been silent for too long, so that another can take its place."""
        if self.signs is None or not self.is_running():
            return
        self.signs.listen(awake)
        if self.signs.are_missing:
            print(
                f"The {self.name} (process {self.group}) has given no sign of life for {SILENCE_SECONDS:.0f} s or more. It is ended.",
                file=sys.stderr,
                flush=True,
            )
            self.kill()

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


def end(children: Collection[Child], *, hears_stop: Callable[[float], bool]) -> None:
    """Asks all to finish, kills each that takes longer than it has, and returns when everything is over. `hears_stop` waits for
    so many seconds at most and says whether a second signal has come: that cuts it short."""
    for child in children:
        child.stop()
    began, is_told = time.monotonic(), False
    while left := [child for child in children if not child.is_over]:
        waited = time.monotonic() - began
        if waited > max(child.patience for child in left) + KILL_SECONDS:
            break
        for child in left:
            if waited > child.patience:
                child.kill()
        if waited > TELL_SECONDS and not is_told:
            is_told = True
            _tell_who_is_waited_for(left)
        # In short waits: of signals in quick succession the system may give one to another thread, which wakes nobody here.
        if hears_stop(LOOK_SECONDS):
            break
    for child in children:
        child.kill()
    until = time.monotonic() + KILL_SECONDS
    while not all(child.is_over for child in children) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)


def _tell_who_is_waited_for(left: list[Child]) -> None:
    names = ", ".join(sorted({child.name for child in left}))
    longest = max(child.patience for child in left)
    print(
        f"Waiting for what still runs to finish ({names}), for {longest:.0f} s at most. A second Ctrl-C ends it at once.",
        file=sys.stderr,
        flush=True,
    )
