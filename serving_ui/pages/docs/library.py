"""The pages of the documentation in the order of the list of contents, read once per process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from django.conf import settings
from markdown_it.token import Token

from serving_ui.pages.docs import generated, markdown
from serving_ui.pages.docs.markdown import Heading

FOLDER = Path(settings.BASE_DIR) / "templates" / "docs"


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    name: str
    source: str

    @cached_property
    def tokens(self) -> list[Token]:
        return markdown.parse(self.source)

    @cached_property
    def headings(self) -> list[Heading]:
        return markdown.headings(self.tokens)

    def tokens_below(self, number: int) -> list[Token]:
        """The tokens between heading `number`, from 0, and the next heading."""
        places = [place for place, token in enumerate(self.tokens) if token.type == "heading_open"]
        return self.tokens[places[number] + 3 : [*places, len(self.tokens)][number + 1]]

    @property
    def title(self) -> str:
        return self.headings[0].text

    @property
    def sections(self) -> list[Heading]:
        """The headings in the page's own table of contents."""
        return [heading for heading in self.headings if heading.level == 2]

    @property
    def address(self) -> str:
        return markdown.address(f"{self.name}.md")


@cache
def contents() -> Page:
    """The page at /docs, which links to all others."""
    return _read(markdown.CONTENTS)


@cache
def pages() -> tuple[Page, ...]:
    """Every page that the list of contents links to, in its order."""
    links = [
        str(child.attrGet("href"))
        for token in contents().tokens
        for child in token.children or ()
        if child.type == "link_open"
    ]
    start = contents().address + "/"
    return tuple(_read(link.removeprefix(start)) for link in links if link.startswith(start))


def page(name: str) -> Page | None:
    """The page of that name; None if the list of contents has none."""
    return next((each for each in pages() if each.name == name), None)


def _read(name: str) -> Page:
    return Page(name, generated.expand((FOLDER / f"{name}.md").read_text(encoding="utf-8")))
