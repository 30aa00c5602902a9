"""pytest plugin of the runner: keeps tests that share fixtures in one process, and prints the minutes of each folder."""

from __future__ import annotations

from collections import defaultdict

import pytest


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: tests of a file that share servers or other fixtures run in one process, all others anywhere."""
    for item in items:
        if has_shared_fixture(item) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def has_shared_fixture(item: pytest.Item) -> bool:
    """Whether the test has a fixture of tests/ with a scope larger than the function."""
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 -- private, and without a type
    return any(
        each.scope != "function" and each.baseid.startswith("tests")
        for found in definitions.values()
        for each in found
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the minutes of each folder, summed over the tests of all processes."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0].rpartition("/")[0]] += report.duration
    terminalreporter.section("minutes by folder")
    for folder, total in sorted(seconds.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{total / 60:7.1f}  {folder}")
