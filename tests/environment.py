"""The surroundings of a test run, set before Django reads its settings: a data folder of its own, no local leftovers.

TEST_DATABASE_URL names the server to make the test database on, such as a PostgreSQL; without it a SQLite file is used.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in [name for name in os.environ if name.startswith("SERVING_UI_")]:
        del os.environ[name]
    data = tempfile.mkdtemp(prefix="serving-ui-test-")
    os.environ["SERVING_UI_DATA"] = data
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    if os.environ.get("TEST_DATABASE_URL"):
        os.environ["SERVING_UI_DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
