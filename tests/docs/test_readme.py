"""The README stays short."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.sources import ROOT
from tests.support.documentation import PARSER

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES, MAX_WORDS, MAX_PARAGRAPH_LINES = 160, 1100, 3


def test_it_has_at_most_160_lines_and_1100_words():
    assert len(TEXT.splitlines()) <= MAX_LINES
    assert len(TEXT.split()) <= MAX_WORDS


def test_no_paragraph_has_more_than_three_lines():
    paragraphs = [token for token in PARSER.parse(TEXT) if token.type == "paragraph_open"]
    long = [
        token.map for token in paragraphs if token.map and token.map[1] - token.map[0] > MAX_PARAGRAPH_LINES
    ]
    assert paragraphs
    assert long == []


def test_it_names_the_two_commands_and_shows_the_product():
    assert re.findall(r"^python3 manage\.py (\w+)", TEXT, re.MULTILINE) == ["up", "test"]
    assert re.search(r"!\[[^\]]+\]\(\.github/endpoint\.png\)", TEXT)


def test_the_table_of_layers_has_every_module():
    """In the order of the layers that import-linter checks."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "layers")
    rows = TEXT.partition("| Layer |")[2].partition("\n\n")[0].splitlines()[2:]
    found = [{name.rstrip("/") for name in re.findall(r"`([\w/]+)`", row.split("|")[2])} for row in rows]
    assert found == [set(re.split(r" [:|] ", layer)) for layer in layers]
