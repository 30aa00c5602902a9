"""`manage.py test`: which packages it installs, what it runs, and when it stops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving_ui.bootstrap.errors import StartError
from tests.architecture.sources import ROOT
from tests.runner import debian, suite
from tests.runner.debian import Package
from tests.runner.folders import has_shared_fixture
from tests.runner.suite import Check

APT_GET = """#!/bin/sh
echo "$@" >> "{log}"
{then}
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch) -> Path:
    """A folder at the start of PATH, where a test puts programs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def with_apt_get(system: Path, then: str) -> Path:
    log = system / "calls"
    program = system / "apt-get"
    program.write_text(APT_GET.format(log=log, then=then))
    program.chmod(0o755)
    return log


MISSING = (
    Package("tea", "brew-tea"),
    Package("python3", "python3"),
    Package("milk", "pour", elsewhere="/nowhere/*"),
)


def test_only_missing_packages_are_installed(system, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    log = with_apt_get(system, "exit 0")
    debian.ensure_installed(MISSING)
    assert log.read_text().splitlines() == [
        "--quiet=2 update",
        "--quiet=2 install --yes --no-install-recommends tea milk",
    ]


def test_apt_get_is_not_called_when_no_package_is_missing(system, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    log = with_apt_get(system, "exit 0")
    debian.ensure_installed(
        (Package("python3", "python3"), Package("shell", "no-such", elsewhere="/bin/s[h]"))
    )
    assert not log.exists()


def test_without_root_the_missing_packages_are_named(system, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with_apt_get(system, "exit 0")
    with pytest.raises(StartError) as problem:
        debian.ensure_installed(MISSING)
    assert str(problem.value) == (
        "The checks need tea milk, which only the system can install. "
        "Install it (on Debian: sudo apt-get install tea milk) and start again."
    )


def test_a_failing_apt_get_is_quoted(system, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with_apt_get(system, "echo 'E: no such host' >&2; exit 100")
    with pytest.raises(StartError, match="apt-get update failed, and its last words were: E: no such host"):
        debian.ensure_installed(MISSING)


@pytest.fixture
def nothing_needed(monkeypatch) -> None:
    monkeypatch.setattr(debian, "NEEDED", ())


GOOD, BAD, LATER = (
    Check("good", ("-c", "pass")),
    Check("bad", ("-c", "raise SystemExit(3)")),
    Check("later", ("-c", "pass")),
)


def test_the_checks_stop_at_the_first_that_fails_and_say_which(capsys):
    assert suite.run_checks(str(ROOT), (GOOD, BAD, LATER)) == 3
    output = capsys.readouterr().err
    assert [line.split()[:2] for line in output.splitlines() if line.endswith(" s")] == [
        ["good", "ok"],
        ["bad", "failed"],
    ]
    assert output.endswith("The check bad failed. Not run: later.\n")


def test_a_failure_of_the_last_check_is_reported(capsys):
    assert suite.run_checks(str(ROOT), (GOOD, BAD)) == 3
    assert capsys.readouterr().err.endswith("The check bad failed.\n")


@pytest.mark.usefixtures("nothing_needed")
def test_with_arguments_only_pytest_runs_with_these_arguments(capfd):
    assert suite.run(str(ROOT), ["--version"]) == 0
    output = capfd.readouterr()
    assert "pytest" in output.out + output.err
    assert "Only pytest runs, because arguments were given." in output.err


@pytest.mark.usefixtures("nothing_needed")
def test_quick_selects_fast_tests_and_one_of_each_kind(monkeypatch, capfd):
    monkeypatch.setattr(suite, "BEFORE_TESTS", (GOOD,))
    monkeypatch.setattr(suite, "PARALLEL", ("--collect-only", "--quiet"))
    assert suite.run(str(ROOT), ["--quick"]) == 0
    collected = capfd.readouterr().out
    for each in (
        "tests/journeys/",
        "tests/browser/",
        "tests/api/clients/",
        "tests/gateway/",
        "tests/catalogue/",
    ):
        assert each in collected
    assert "tests/pages/" not in collected


def test_a_check_gets_no_settings_of_the_environment(monkeypatch, capfd):
    monkeypatch.setenv("SERVING_UI_SECRET_KEY", "mine")
    show = "import os; print([(n, v) for n, v in os.environ.items() if n.startswith('SERVING_UI_')])"
    assert suite.run_checks(str(ROOT), (Check("show", ("-c", show)),)) == 0
    assert "mine" not in capfd.readouterr().out


@pytest.fixture(scope="module")
def shared() -> object:
    return object()


@pytest.mark.usefixtures("shared")
def test_tests_that_share_a_fixture_run_in_one_process(request: pytest.FixtureRequest):
    assert has_shared_fixture(request.node)


def test_a_test_without_a_shared_fixture_runs_in_any_process(request: pytest.FixtureRequest):
    assert not has_shared_fixture(request.node)
