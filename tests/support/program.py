"""Runs a program under test: reads its output line by line, and kills all its processes after the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.support.waiting import descendants, wait_until


class Program:
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
        """All output so far, for the message of a failed assertion."""
        return "\n".join([*self.out, "--", *self.err])

    def wait_for_line(self, words: str, *, seconds: float = 90.0) -> str:
        """Wait for a line on standard output that contains `words`, and return it."""

        def found() -> list[str]:
            assert self.process.poll() is None or words in self.text, (
                f"ended without printing it:\n{self.text}"
            )
            return [line for line in self.out if words in line]

        wait_until(found, what=f"{words!r}", seconds=seconds)
        return found()[0]

    def wait_for_exit(self, *, seconds: float = 60.0) -> int:
        """Wait until the program has ended, and return its exit code."""
        code = self.process.wait(timeout=seconds)
        self.join_readers()
        return code

    def join_readers(self) -> None:
        """Wait until all output has been read."""
        for reader in self._readers:
            reader.join(timeout=60)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the whole process group, as a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, number)

    def descendants(self) -> set[int]:
        return descendants(self.process.pid)


@contextlib.contextmanager
def running_program(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Iterator[Program]:
    """Start the program, and kill all its processes at the end, also when the test has failed."""
    program = Program(command, cwd=cwd, env=env)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.signal(signal.SIGSTOP)  # so that it starts no other process while these are killed
        for process in {program.process.pid, *program.descendants()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        program.process.wait()
        program.join_readers()
