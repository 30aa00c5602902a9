"""The Markdown files of the repository: every link, anchor, command, setting, address and file that they name exists."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import resolve

from serving_ui.lib import env
from serving_ui.pages.docs import generated, markdown
from tests.architecture.sources import ROOT
from tests.support.documentation import DOCS, inline, tokens

FILES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]
by_file = pytest.mark.parametrize("file", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
OWN = {"up", "test"}
"""Commands that manage.py knows before Django is there."""
EXTERNAL = ("https://", "http://", "mailto:")


def anchors(path: Path) -> set[str]:
    source = generated.expand(path.read_text(encoding="utf-8"))
    return {heading.anchor for heading in markdown.headings(markdown.parse(source))}


def code(path: Path) -> list[str]:
    """Every code span and code block."""
    spans = [token.content for token in inline(path, "code_inline")]
    return spans + [token.content for token in tokens(path) if token.type == "fence"]


@by_file
def test_every_link_leads_to_a_file_and_an_anchor_that_exist(file: Path):
    links = [str(token.attrGet("href")) for token in inline(file, "link_open")]
    links += [str(token.attrGet("src")) for token in inline(file, "image")]
    for link in links:
        if link.startswith(EXTERNAL):
            continue
        target, _sharp, anchor = link.partition("#")
        path = (file.parent / target).resolve() if target else file
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


@by_file
def test_pages_of_the_product_link_only_to_each_other(file: Path):
    """A page in the product cannot lead to a file of the repository."""
    if file.parent == DOCS:
        for token in inline(file, "link_open"):
            target = str(token.attrGet("href")).partition("#")[0]
            assert target == "" or target.startswith(EXTERNAL) or (DOCS / target).is_file()


@by_file
def test_every_command_exists(file: Path):
    for text in code(file):
        for name in re.findall(r"manage\.py ([a-z_]+)", text):
            assert name in OWN or name in get_commands(), name
        for module in re.findall(r"python -m (\w[\w.]+)", text):
            assert find_spec(module), module


@by_file
def test_every_setting_exists(file: Path):
    import serving_ui.settings  # noqa: F401 -- reads all of them

    known = env.known_settings() | {setting.name for setting in env.described()}
    for text in code(file):
        for name in re.findall(r"SERVING_UI_([A-Z0-9_<>]+)", text):
            assert name.removesuffix("_FILE") in known | {"NAME", "BASE_URL_ANTHROPIC"}, name


@by_file
def test_every_address_of_the_api_exists(file: Path):
    for text in code(file):
        for path in re.findall(
            r"(?:\b(?:GET|POST|PUT|PATCH|DELETE) |\$DATABRICKS_HOST)(…?/[\w{}./:-]+)", text
        ):
            address = path.replace("…", "/api/2.0/serving-endpoints").replace("{name}", "chat")
            if address.startswith("/api/"):
                assert resolve(address).func.__name__ != "not_found", address


@by_file
def test_every_file_that_is_named_exists(file: Path):
    starts = ("serving_ui/", "tests/", "templates/", "static/", ".github/")
    for text in inline(file, "code_inline"):
        name = text.content
        if name.startswith(starts) and "<" not in name and "*" not in name:
            assert (ROOT / name.partition(":")[0]).exists(), name


def test_every_test_file_of_the_security_page_exists():
    names = [span for span in code(DOCS / "security.md") if re.fullmatch(r"\w+/test_\w+\.py", span)]
    assert len(names) > 15
    assert [name for name in names if not (ROOT / "tests" / name).is_file()] == []
