"""Markdown to HTML: anchors as on code hosts, tables that fit a phone, code with a copy button. HTML in Markdown is shown as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import splitext

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
CONTENTS = "README"
"""The page that lists the others. A code host shows a file of this name for the folder."""


@dataclass(frozen=True)
class Heading:
    """One heading. `level` is 1 to 6."""

    level: int
    text: str
    anchor: str


def parse(source: str) -> list[Token]:
    """The tokens of a file, with an id on each heading, links to pages as addresses of the product, and marked-up tables."""
    tokens = _PARSER.parse(source)
    _mark_headings(tokens)
    _mark_tables(tokens)
    for token in _inline(tokens):
        if token.type == "link_open":
            token.attrSet("href", address(str(token.attrGet("href"))))
    return tokens


def render(tokens: Sequence[Token]) -> SafeString:
    """The HTML of these tokens, with labels in the reader's language."""
    parts, start = [], 0
    for index, token in enumerate(tokens):
        if token.type == "fence":
            parts.append(_html(tokens[start:index]))
            parts.append(render_to_string("docs/code.html", {"code": token.content, "id": f"code-{index}"}))
            start = index + 1
    return mark_safe("".join([*parts, _html(tokens[start:])]))  # noqa: S308 -- our own files, with HTML off


def _html(tokens: Sequence[Token]) -> str:
    return str(_PARSER.renderer.render(tokens, _PARSER.options, {}))


def address(target: str) -> str:
    """A link of a file as the product's address: `secrets.md#keys` is /docs/secrets#keys. Other links stay as they are."""
    file, _, anchor = target.partition("#")
    name, ending = splitext(file)
    if ending != ".md" or "/" in file:
        return target
    page = reverse("docs") if name == CONTENTS else reverse("docs-page", args=[name])
    return f"{page}#{anchor}" if anchor else page


def headings(tokens: Sequence[Token]) -> list[Heading]:
    """Every heading, in order."""
    return [
        Heading(int(token.tag[1]), text_of(tokens[index + 1]), str(token.attrGet("id")))
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def text_of(token: Token) -> str:
    """The text of one token, without formatting."""
    if token.type in ("fence", "code_block"):
        return token.content
    parts = (
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in token.children or ()
    )
    return "".join(parts)


def _inline(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()


def _mark_headings(tokens: Sequence[Token]) -> None:
    """Ids as code hosts make them, so that links with an anchor work there as well."""
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = re.sub(r"[^\w\- ]", "", text_of(tokens[index + 1]).lower()).replace(" ", "-")
            count = seen[anchor] = seen.get(anchor, -1) + 1
            token.attrSet("id", f"{anchor}-{count}" if count else anchor)


def _mark_tables(tokens: list[Token]) -> None:
    """On a phone each row becomes a card, in which each cell shows the name of its column: see `.stacked`."""
    columns: list[str] = []
    column = 0
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            token.attrSet("class", "table stacked")
            columns = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            token.attrSet("scope", "col")
            columns.append(text_of(tokens[index + 1]))
        elif token.type == "td_open":
            token.attrSet("data-label", columns[column])
            _wrap(tokens[index + 1])
            column += 1


def _wrap(cell: Token) -> None:
    """One element around the words of a cell: in a card the cell is a flex container, and would set them apart."""
    if cell.children:
        cell.children = [Token("cell_open", "span", 1), *cell.children, Token("cell_close", "span", -1)]
