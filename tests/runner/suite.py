"""`manage.py test`: installs what the tests need, then runs the checks one after the other until the first that fails.

`--quick` runs a part of the tests in under 3 minutes, `--all` also those that are left out by default (the marks `clients`,
`containers`, `engines`, `faults` and `installation` in pyproject.toml).
With any other argument only pytest runs, with those arguments.
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


BEFORE_TESTS = (
    Check("format", ("-m", "ruff", "format", "--check", "--quiet")),
    Check("rules", ("-m", "ruff", "check", "--quiet")),
    Check("types", ("-m", "mypy", "--no-error-summary")),
    Check("layers", ("-c", "from importlinter.cli import lint_imports_command as lint; lint()")),
    Check("migrations", ("manage.py", "makemigrations", "--check", "--dry-run", "--verbosity", "1")),
)
PARALLEL = ("--numprocesses", "2", "--dist", "loadgroup", "-p", "tests.runner.folders")
QUICK = "--quick"
ALL = "--all"
SELECTIONS = {
    "": ("-m", "not (clients or containers or engines or faults or installation) or smoke"),
    ALL: (),
    # The fast folders, and a smoke test of the product, of the pages in a browser, and of the gateway.
    QUICK: (
        "-m",
        "(not slow or smoke) and not installation",
        "tests/api/clients/test_mlflow.py",
        "tests/architecture",
        "tests/bootstrap",
        "tests/browser/test_main_path.py",
        "tests/catalogue",
        "--ignore=tests/catalogue/wire",
        "tests/gateway/test_queries.py",
        "tests/journeys/test_life.py",
        "tests/lib",
        "tests/runner",
        "tests/vault",
    ),
}


def run(root: str, arguments: list[str]) -> int:
    """Run the checks in the checkout. Returns the exit code of the first that failed, else 0."""
    selection = arguments[0] if len(arguments) == 1 else ""
    debian.ensure_installed(debian.NEEDED + (debian.FOR_CONTAINERS if selection == ALL else ()))
    if arguments and selection not in SELECTIONS:
        print("Only pytest runs, because arguments were given.", file=sys.stderr, flush=True)
        return _run_check(root, Check("tests", ("-m", "pytest", *arguments)))
    tests = Check("tests", ("-m", "pytest", *PARALLEL, *SELECTIONS[selection]))
    return run_checks(root, (*BEFORE_TESTS, tests))


def run_checks(root: str, checks: tuple[Check, ...]) -> int:
    """Run the checks until the first that fails, and print the outcome and seconds of each."""
    lines = []
    for check in checks:
        print(f"== {check.name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        code = _run_check(root, check)
        lines.append(f"{check.name:<12}{'failed' if code else 'ok':<8}{time.monotonic() - began:6.1f} s")
        if code:
            break
    skipped = ", ".join(check.name for check in checks[len(lines) :])
    failed = f"The check {check.name} failed." + (f" Not run: {skipped}." if skipped else "")
    print("\n".join(["", *lines]), file=sys.stderr)
    print(failed if code else "Every check passed.", file=sys.stderr, flush=True)
    return code


def _run_check(root: str, check: Check) -> int:
    """Run one check in a process without SERVING_UI_ variables and with an empty data folder. The terminal sends Ctrl-C to it, too."""
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
