"""The server of one model on this machine: started, watched, and started again after a pause that doubles each time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

from serving_ui.local_model.files import HOST, Connection, ModelStatus, is_free
from serving_ui.local_model.server import Order
from serving_ui.local_model.weights import Weights

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0  # a server that ran longer than this before it ended is started again at once
HEALTH_SECONDS = 1.0
MAX_OUTPUT_BYTES = 20_000
MAX_OUTPUT_CHARS = 300
_ERROR = " E "  # in its lines of errors


class ModelServer:
    """`connection`: where it listens. `log_folder` has the output of its last start."""

    def __init__(
        self,
        weights: Weights,
        connection: Connection,
        *,
        python: str,
        root: str,
        log_folder: str,
        threads: int,
    ) -> None:
        self.weights = weights
        self.connection = connection
        self.is_ready = False
        self._python = python
        self._root = root
        self._log = os.path.join(log_folder, f"{weights.name}.log")
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0  # when it is to be started again
        self._failures = 0
        self._message = ""
        self._output = ""

    def check(self) -> None:
        """Starts it if it is due, notices its end, and whether it answers. Waits at most HEALTH_SECONDS."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self._start()
        elif self._process.poll() is not None:
            self._plan_restart(now)
        elif not self.is_ready:
            self.is_ready = _answers(self.connection.port)

    def status(self) -> ModelStatus:
        if self.is_ready:
            return ModelStatus(self.weights.name, is_ready=True)
        return ModelStatus(self.weights.name, message=self._message, last_output=self._output)

    def stop(self) -> None:
        """Returns when it has ended."""
        if self._process is not None:
            self._process.kill()  # it has nothing to save
            self._process.wait()
            self._close_input()
        self._process, self.is_ready = None, False

    def _start(self) -> None:
        """In the process group of this process, which the supervisor kills as a whole."""
        if not is_free(self.connection.port):
            pause = self._pause()
            self._message = (
                f"Another program listens on its port {self.connection.port} of this machine. It is tried again after "
                f"{pause:g} s. A new start of Serving UI chooses another port."
            )
            self._start_at = time.monotonic() + pause
            return
        order = Order(
            name=self.weights.name,
            engine=str(self.weights.engine),
            path=str(self.weights.path),
            port=self.connection.port,
            threads=self._threads,
            memory_bytes=self.weights.memory_bytes,
            is_built_in=self.weights.is_built_in,
            key=self.connection.key,
        )
        with open(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            self._process = subprocess.Popen(
                [self._python, "-P", "-m", "serving_ui.local_model.server"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={
                    "PYTHONPATH": self._root,
                    "OMP_NUM_THREADS": str(self._threads),
                },  # no settings of the product
            )
        self._started_at = time.monotonic()
        try:
            if self._process.stdin:
                self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
                self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended; the next check says so

    def _plan_restart(self, now: float) -> None:
        if self._process is None:
            return
        if now - self._started_at >= STEADY_SECONDS:
            self._failures = 0
        pause = self._pause()
        code = self._process.returncode
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        self._message = f"Its server {how}, and is started again after {pause:g} s."
        former, self._output = self._output, self._reason()
        if self._failures == 1 or self._output != former:  # not once a minute for a file that stays broken
            print(f"Model {self.weights.name}: {self._message} {self._output}", file=sys.stderr, flush=True)
        self._close_input()
        self._process, self.is_ready, self._start_at = None, False, now + pause

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                return

    def _pause(self) -> float:
        """Seconds until the next start, which double with each failure."""
        self._failures += 1
        return min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * float(2 ** min(self._failures - 1, 10)))

    def _reason(self) -> str:
        """The first error that llama.cpp wrote, or else the last line."""
        try:
            with open(self._log, "rb") as file:
                lines = file.read(MAX_OUTPUT_BYTES).decode(errors="replace").split("\n")
        except OSError:
            return ""
        errors = [line.partition(_ERROR)[2] for line in lines if _ERROR in line]
        return next(
            (line.strip()[:MAX_OUTPUT_CHARS] for line in [*errors, *reversed(lines)] if line.strip()), ""
        )


def _answers(port: int) -> bool:
    import http.client  # loads 5 MB, which are not needed before a model runs

    connection = http.client.HTTPConnection(HOST, port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
