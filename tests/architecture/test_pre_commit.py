"""The pre-commit hooks are the checks that `manage.py test` runs before the tests."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from tests.architecture.sources import ROOT
from tests.runner.suite import BEFORE_TESTS


def test_the_hooks_run_the_checks_of_manage_py_test():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks: list[dict[str, Any]] = repository["hooks"]
    assert repository["repo"] == "local"
    commands = {hook["id"]: tuple(shlex.split(hook["entry"])) for hook in hooks}
    expected = {check.name: (".venv/bin/python", *check.command) for check in BEFORE_TESTS}
    assert commands == expected
