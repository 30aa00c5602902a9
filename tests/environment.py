"""Environment variables of a test run, set before Django reads its settings: a temporary data folder, no other settings.

TEST_DATABASE_URL is the address of the database server for the test database, such as PostgreSQL; by default it is SQLite.

Hypothesis and Schemathesis generate the same examples in every run, so that runs can be repeated. For other examples set a seed:
`--hypothesis-seed=7`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in [name for name in os.environ if name.startswith("SERVING_UI_")]:
        del os.environ[name]
    data = tempfile.mkdtemp(prefix="serving-ui-test-")
    os.environ["SERVING_UI_DATA"] = data
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    if os.environ.get("TEST_DATABASE_URL"):
        os.environ["SERVING_UI_DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]


def pytest_configure(config: pytest.Config) -> None:
    """Without a seed or profile on the command line: the same examples every time, and no deadlines."""
    without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("repeatable", without_deadline, derandomize=True, database=None)
    chosen = config.getoption("--hypothesis-seed") or config.getoption("--hypothesis-profile")
    if not chosen:
        settings.load_profile("repeatable")
