"""During a rolling upgrade the previous version can use the tables of the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.organisation.conftest import Database
from tests.support.upgrade_check import CHECKED_AFTER

pytestmark = pytest.mark.slow
FIRST = {app: name and "0001_initial" for app, name in CHECKED_AFTER.items()}
_NUMBERS = count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    server: Database = request.getfixturevalue("postgresql")
    return server.another(f"upgrade_{next(_NUMBERS)}")


def incompatibilities(since: dict[str, str | None], database: str, folder: Path) -> list[str]:
    """The models that the code before each migration after `since` cannot store once all migrations are applied."""
    env = {"SERVING_UI_DATABASE_URL": database, "SERVING_UI_DATA": str(folder)}
    env["DJANGO_SETTINGS_MODULE"] = "serving_ui.settings"
    command = [sys.executable, "-m", "tests.support.upgrade_check", json.dumps(since)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_code_before_each_migration_works_with_the_newest_tables(database: str, tmp_path: Path):
    assert incompatibilities(CHECKED_AFTER, database, tmp_path) == []


def test_incompatible_migrations_from_before_the_rule_are_found(database: str, tmp_path: Path):
    found = "\n".join(incompatibilities(FIRST, database, tmp_path))
    assert "The code before endpoints.0002" in found
    assert "cannot store a endpoints.Endpoint: " in found
    assert "add a sample value" not in found
