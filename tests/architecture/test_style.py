"""Style rules of source files: docstrings, names, comments at broad excepts, no sleeps in tests, no inline scripts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.sources import ROOT, asset_files, name, python_files, tree

NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "helper",
    "manager",
    "managers",
    "common",
    "misc",
    "base",
}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
INLINE = re.compile(
    r"""<script(?![^>]*\bsrc=)(?![^>]*type="application/json")|\sstyle\s*=|\son[a-z]+\s*=\s*["']"""
)


def test_every_module_opens_with_a_docstring():
    silent = [path for path in python_files("serving_ui", "tests") if not ast.get_docstring(tree(path))]
    assert not [name(path) for path in silent if path.read_text().strip()]


def test_every_module_imports_annotations_from_future():
    missing = []
    for path in python_files("serving_ui"):
        imports = [node for node in tree(path).body if isinstance(node, ast.ImportFrom | ast.Import)]
        first = imports[0] if imports else None
        if first and not (isinstance(first, ast.ImportFrom) and first.module == "__future__"):
            missing.append(name(path))
    assert not missing


def test_no_file_or_folder_has_a_vague_name():
    files: list[Path] = [*python_files("serving_ui", "tests"), *asset_files("static", ".css", ".js")]
    folders = {folder for path in files for folder in path.relative_to(ROOT).parent.parts}
    vague = [name(path) for path in files if path.stem in NAMES_THAT_SAY_NOTHING and path.suffix == ".py"]
    assert not vague
    assert not folders & NAMES_THAT_SAY_NOTHING


def test_no_file_contains_a_todo_mark():
    files = [*python_files("serving_ui", "tests"), *asset_files("templates", ".html")]
    this = Path(__file__)
    assert not [name(path) for path in files if path != this and UNFINISHED.search(path.read_text())]


def test_a_broad_except_has_a_comment_or_raises_again():
    """A handler that raises the exception again needs no comment."""
    unexplained = []
    for path in python_files("serving_ui"):
        lines = path.read_text().splitlines()
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler) or is_bare_raise(node.body[-1]):
                continue
            caught = ast.unparse(node.type) if node.type else "BaseException"
            if caught in {"Exception", "BaseException"} and "#" not in lines[node.lineno - 1]:
                unexplained.append(f"{name(path)}:{node.lineno}")
    assert not unexplained


def is_bare_raise(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) and statement.exc is None


def test_no_test_calls_sleep():
    sleeping = []
    for path in python_files("tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
                sleeping.append(f"{name(path)}:{node.lineno}")
    assert not sleeping


def test_no_template_has_inline_script_or_style():
    found = {
        name(path): match.group()
        for path in asset_files("templates", ".html")
        if (match := INLINE.search(path.read_text()))
    }
    assert not found
