"""`manage.py test`: brings what the checks need, then runs them until the first one that fails.

With arguments only pytest runs, and gets them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from tests.runner import debian


@dataclass(frozen=True)
class Check:
    name: str
    command: tuple[str, ...]


CHECKS = (
    Check("format", ("-m", "ruff", "format", "--check", "--quiet")),
    Check("rules", ("-m", "ruff", "check", "--quiet")),
    Check("types", ("-m", "mypy", "--no-error-summary")),
    Check("floors", ("-c", "from importlinter.cli import lint_imports_command as lint; lint()")),
    Check("migrations", ("manage.py", "makemigrations", "--check", "--dry-run", "--verbosity", "1")),
    Check("tests", ("-m", "pytest", "--numprocesses", "2", "--dist", "loadfile")),
)


def run(root: str, arguments: list[str]) -> int:
    """Run the checks in the checkout; the answer is the exit code of the first that failed, else 0."""
    debian.bring(debian.NEEDED)
    if arguments:
        print("Only pytest runs, because arguments were given.", file=sys.stderr, flush=True)
        return _carry_out(root, Check("tests", ("-m", "pytest", *arguments)))
    lines = []
    for check in CHECKS:
        print(f"== {check.name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        code = _carry_out(root, check)
        lines.append(f"{check.name:<12}{'failed' if code else 'ok':<8}{time.monotonic() - began:6.1f} s")
        if code:
            break
    skipped = ", ".join(check.name for check in CHECKS[len(lines) :])
    failed = f"The check {check.name} failed." + (f" Not run: {skipped}." if skipped else "")
    print("\n".join(["", *lines]), file=sys.stderr)
    print(failed if code else "Every check passed.", file=sys.stderr, flush=True)
    return code


def _carry_out(root: str, check: Check) -> int:
    """One check in its own process, without the person's own settings and data. Ctrl-C reaches it by itself."""
    with tempfile.TemporaryDirectory(prefix="serving-ui-test-") as data:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
        process = subprocess.Popen(
            [sys.executable, *check.command], cwd=root, env={**clean, "SERVING_UI_DATA": data}
        )
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
