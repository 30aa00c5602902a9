"""Runs the server without worker and beat, on a free port and its own data folder. It deploys no endpoints."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.architecture.sources import ROOT
from tests.support.program import running_program
from tests.support.waiting import free_port, wait_until


@dataclass
class ServerAlone:
    """The server's address and settings. `command` runs a command of manage.py and returns its output."""

    data: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
        return {
            **clean,
            "SERVING_UI_DATA": str(self.data),
            "SERVING_UI_PORT": str(self.port),
            **self.settings,
        }

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def up(self) -> Iterator[ServerAlone]:
        """Runs it until the block ends; it is ready when the block begins."""
        command = [sys.executable, "-m", "serving_ui.server", "--port", str(self.port)]
        with running_program(command, cwd=ROOT, env=self.env) as program:
            wait_until(
                lambda: self.is_ready() or program.process.poll() is not None, what="the server", seconds=60
            )
            assert program.process.poll() is None, program.text
            self.process = program.process.pid
            yield self

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except requests.RequestException:
            return False
