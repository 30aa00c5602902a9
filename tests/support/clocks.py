"""Starts processes with a wrong clock, and changes their clock while they run."""

from __future__ import annotations

import os
from pathlib import Path

SHIM = Path(__file__).parent / "clock_shim"


class Clock:
    """The clock of all processes that are started with `env`: `ahead` seconds ahead of the real time."""

    def __init__(self, folder: Path, *, ahead: float = 0) -> None:
        self._file = folder / f"clock-{ahead}"
        self.set(ahead)
        path = os.pathsep.join(filter(None, (str(SHIM), os.environ.get("PYTHONPATH"))))
        self.env = {"PYTHONPATH": path, "TESTS_CLOCK": str(self._file)}

    def set(self, ahead: float) -> None:
        """Set the clock; running processes follow within half a second."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(ahead))
        draft.replace(self._file)
