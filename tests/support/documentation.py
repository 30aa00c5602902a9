"""Parses the Markdown files of the documentation: code blocks and links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.architecture.sources import ROOT

DOCS = ROOT / "templates" / "docs"
PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Block:
    """One code block of a file."""

    file: str
    language: str
    code: str


def tokens(path: Path) -> list[Token]:
    return PARSER.parse(path.read_text(encoding="utf-8"))


def blocks(path: Path, *languages: str) -> list[Block]:
    """The code blocks in these languages, in order."""
    return [
        Block(path.name, token.info, token.content)
        for token in tokens(path)
        if token.type == "fence" and token.info in languages
    ]


def inline(path: Path, kind: str) -> Iterator[Token]:
    """The tokens of that kind in the text: `link_open`, `image`, `code_inline`."""
    for token in tokens(path):
        yield from (child for child in token.children or () if child.type == kind)
