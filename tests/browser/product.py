"""Runs `manage.py up` on a free port, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.sources import ROOT
from tests.support.program import running_program
from tests.support.waiting import free_port

READY = "Serving page ready at "
LINK = "Open this link once and press Sign in: "


@dataclass(frozen=True)
class Product:
    """A running product."""

    url: str
    first_link: str
    env: dict[str, str]

    def command(self, *arguments: str) -> str:
        """What a command of manage.py prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=True, timeout=180,
        )  # fmt: skip
        return done.stdout.strip()


@contextlib.contextmanager
def running_product(data: Path) -> Iterator[Product]:
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
    # Tests hold the reply to a credential check for a while, which must not make the update fail.
    env = {**clean, "SERVING_UI_DATA": str(data), "SERVING_UI_CHECK_DEADLINE_SECONDS": "600"}
    with running_program(
        [sys.executable, ROOT / "manage.py", "up", "--port", str(port)], cwd=ROOT, env=env
    ) as program:
        program.wait_for_line(READY, seconds=180)
        link = program.wait_for_line(LINK).partition(LINK)[2]
        yield Product(url=f"http://127.0.0.1:{port}", first_link=link, env=env)
        assert "Traceback" not in program.text, program.text
