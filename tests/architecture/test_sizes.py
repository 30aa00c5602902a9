"""The largest sizes of files, templates and functions."""

from __future__ import annotations

import ast

from tests.architecture.sources import asset_files, lines, name, python_files, tree

FILE_LINES = 400
TEMPLATE_LINES = 120
FUNCTION_LINES = 40


def test_no_source_file_is_longer_than_400_lines():
    files = [
        *python_files("serving_ui", "tests"),
        *asset_files("static", ".css", ".js"),
    ]
    too_long = {name(path): lines(path) for path in files if lines(path) > FILE_LINES}
    assert not too_long


def test_no_template_is_longer_than_120_lines():
    files = asset_files("templates", ".html", ".txt", ".svg")
    too_long = {name(path): lines(path) for path in files if lines(path) > TEMPLATE_LINES}
    assert not too_long


def test_no_function_is_longer_than_40_lines():
    too_long = {}
    for path in python_files("serving_ui", "tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > FUNCTION_LINES:
                    too_long[f"{name(path)}:{node.lineno} {node.name}"] = size
    assert not too_long
