"""Search in the documentation: every word must occur in a section; titles count more than headings, and headings more than text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from serving_ui.pages.docs import library, markdown
from serving_ui.pages.docs.library import Page

MAX_RESULTS = 20
MAX_QUERY_LENGTH = 200
_EXCERPT_RADIUS = 80
"""Characters of text before and after the first word found."""


@dataclass(frozen=True)
class Section:
    """The text under one heading."""

    page: Page
    heading: str
    anchor: str
    text: str

    @property
    def address(self) -> str:
        return f"{self.page.address}#{self.anchor}"

    @property
    def is_whole_page(self) -> bool:
        return self.heading == self.page.title


@dataclass(frozen=True)
class Result:
    """A section that holds every word, with the text around the first one."""

    section: Section
    excerpt: str


def search(query: str) -> list[Result]:
    """The best sections first; of equal ones, in the order of the pages."""
    words = query[:MAX_QUERY_LENGTH].casefold().split()
    if not words:
        return []
    ranked = ((_rank(section, words), section) for section in sections())
    found = sorted((pair for pair in ranked if pair[0]), key=lambda pair: -pair[0])
    return [Result(section, _excerpt(section.text, words)) for _rank, section in found[:MAX_RESULTS]]


@cache
def sections() -> tuple[Section, ...]:
    return tuple(section for page in library.pages() for section in _split(page))


def _split(page: Page) -> Iterator[Section]:
    for number, heading in enumerate(page.headings):
        tokens = page.tokens_below(number)
        text = " ".join(markdown.text_of(token) for token in tokens if token.type in ("inline", "fence"))
        yield Section(page, heading.text, heading.anchor, " ".join(text.split()))


def _rank(section: Section, words: list[str]) -> int:
    """0 if a word is missing."""
    title, heading, text = (each.casefold() for each in (section.page.title, section.heading, section.text))
    if not all(word in title or word in heading or word in text for word in words):
        return 0
    return sum(
        10 * (word in title and section.is_whole_page) + 5 * (word in heading) + min(text.count(word), 4)
        for word in words
    ) + 1  # fmt: skip


def _excerpt(text: str, words: list[str]) -> str:
    places = [place for word in words if (place := text.casefold().find(word)) >= 0]
    first = min(places, default=0)
    start, end = max(first - _EXCERPT_RADIUS, 0), first + _EXCERPT_RADIUS
    before = text[start:first].partition(" ")[2] if start else text[:first]
    after = text[first:end].rpartition(" ")[0] if end < len(text) else text[first:]
    return ("… " if start else "") + before + after + (" …" if end < len(text) else "")
