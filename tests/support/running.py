"""A program under test: its output is read line by line, and all its processes are ended after the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.support.waiting import offspring, until


class Running:
    """One started program."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=args, daemon=True)
            for args in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        """Everything said so far, for a failure's message."""
        return "\n".join([*self.out, "--", *self.err])

    def says(self, words: str, *, seconds: float = 90.0) -> str:
        """Wait for a line on standard output that holds these words; the line."""

        def found() -> list[str]:
            assert self.process.poll() is None or words in self.text, f"ended without saying it:\n{self.text}"
            return [line for line in self.out if words in line]

        until(found, what=f"{words!r}", seconds=seconds)
        return found()[0]

    def ends(self, *, seconds: float = 60.0) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(timeout=seconds)
        self.heard_out()
        return code

    def heard_out(self) -> None:
        """Everything that was said has been read."""
        for reader in self._readers:
            reader.join(timeout=60)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """As the terminal does on Ctrl-C: everybody in the foreground gets it."""
        os.killpg(self.process.pid, number)

    def offspring(self) -> set[int]:
        return offspring(self.process.pid)


@contextlib.contextmanager
def running(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Iterator[Running]:
    """Start it; at the end nothing of it is left, even when the test has failed."""
    program = Running(command, cwd=cwd, env=env)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.signal(signal.SIGSTOP)  # it must not start another process while these are being ended
        for process in {program.process.pid, *program.offspring()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        program.process.wait()
        program.heard_out()
