"""How long `manage.py up` takes until the page is ready: `python -m tests.bench.start`. The first start makes the database."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.waiting import free_port

ROUNDS = 5
ROOT = Path(__file__).parents[2]


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        first, *later = [once(data) for _ in range(ROUNDS + 1)]
    print(
        f"first start {first:.2f} s; later ones {statistics.median(later):.2f} s (median of {ROUNDS}; budget 3 s)"
    )


def once(data: str) -> float:
    """Seconds from the command to its ready line."""
    command = [sys.executable, "manage.py", "up", "--port", str(free_port())]
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "SERVING_UI_DATA": data}, stdout=subprocess.PIPE, text=True
    ) as program:
        for line in program.stdout or ():
            if "ready at" in line:
                break
        took = time.perf_counter() - began
        program.send_signal(signal.SIGTERM)
        program.communicate()
    return took


if __name__ == "__main__":
    main()
