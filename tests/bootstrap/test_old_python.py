"""A Python that is too old prints one sentence; a supported one does not."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.sources import ROOT

SOURCE = (ROOT / "manage.py").read_text()
OLD = [
    program
    for name in ("python2.7", "python3.6", "python3.9", "python3.10")
    if (program := shutil.which(name))
]


def main_under(version: tuple[int, int], monkeypatch: Any) -> Any:
    namespace: dict[str, Any] = {"__name__": "manage"}
    exec(compile(SOURCE, "manage.py", "exec"), namespace)
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    return namespace["main"]()


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10)])
def test_a_too_old_python_is_reported_with_the_version_needed(version, monkeypatch, capsys):
    assert main_under(version, monkeypatch) == 1
    output = capsys.readouterr().err
    assert output == (
        f"Serving UI needs Python 3.11 or newer, and this is Python {version[0]}.{version[1]}. "
        "Install a newer Python and start manage.py with that one.\n"
    )


def test_manage_py_uses_only_syntax_of_old_pythons():
    ast.parse(SOURCE, feature_version=(3, 4))
    assert SOURCE.isascii()
    kinds = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    tree = ast.parse(SOURCE)
    assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]


def test_every_old_python_of_this_machine_is_reported(tmp_path):
    for program in OLD:
        shutil.copy(ROOT / "manage.py", tmp_path)
        done = subprocess.run(
            [program, "manage.py", "up"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        if "command not found" in done.stderr:  # a version manager's stand-in for a Python that it lacks
            continue
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Serving UI needs Python 3.11 or newer, and this is Python ")
        assert "Traceback" not in done.stderr


def test_pyproject_and_manage_py_require_the_same_python():
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "OLDEST = (3, 11)" in Path(ROOT / "manage.py").read_text()
