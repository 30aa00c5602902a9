"""The surroundings of a test run, set before Django reads its settings: a data folder of its own, no local leftovers.

TEST_DATABASE_URL names the server to make the test database on, such as a PostgreSQL; without it a SQLite file is used.

What hypothesis and schemathesis make up is the same in every run, so that a run can be trusted and repeated. To look for
more, give a seed: `--hypothesis-seed=7`.
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
    """Without a seed nothing is left to chance, and nothing to how busy the machine is."""
    unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("repeatable", unhurried, derandomize=True, database=None)
    chosen = config.getoption("--hypothesis-seed") or config.getoption("--hypothesis-profile")
    if not chosen:
        settings.load_profile("repeatable")
