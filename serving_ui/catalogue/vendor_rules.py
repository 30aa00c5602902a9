"""What a vendor asks of a conversation beyond what OpenAI asks: declared in the vendor's file, kept by gemini_contents.py and openai_request.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

_DIGITS = 12
_FITTED = re.compile(rf"__x[0-9a-f]{{{_DIGITS}}}\Z")


class Form:
    """What a vendor takes for a tool's name or a call's id: `first` and `rest` are the characters of a regular expression's class."""

    def __init__(self, *, rest: str, most: int, first: str = "") -> None:
        self.most = most
        self._first = re.compile(f"[{first or rest}]")
        self._other = re.compile(f"[^{rest}]")
        self._whole = re.compile(f"[{first or rest}][{rest}]{{0,{most - 1}}}")

    def fit(self, text: str) -> str:
        """The text itself if the vendor takes it, else another that does; always the same one, and a different one for each text.

        A text that looks like a fitted one is fitted as well, so that it cannot be mistaken for it.
        """
        if self._whole.fullmatch(text) and not is_fitted(text):
            return text
        mark = "__x" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
        stem = self._other.sub("_", text)
        if not self._first.match(stem):
            stem = f"_{stem}"
        return stem[: self.most - len(mark)] + mark


def is_fitted(text: str) -> bool:
    """Whether the text looks as if `fit` had made it."""
    return _FITTED.search(text) is not None


@dataclass(frozen=True, kw_only=True)
class Rules:
    provider: str
    names: Form
    ids: Form
    can_forbid_tools: bool = True
    """Whether tools can be given and forbidden at once. Where not, they are left out."""
    history_as_text: bool = False
    """Whether calls and their results are told in words when no tools are given: the vendor may refuse them without."""
    tools_apart: bool = False
    """Whether calls and results need a turn without other content."""
    own_tools: str = ""
    """The vendor's own field for tools, which a caller may use."""
    has_thoughts: bool = False
    """Whether an assistant's `thinking_blocks` are sent back."""
    most_stops: int | None = None
    blank_stops: bool = True
    """Whether white space alone can end an answer."""
    images: frozenset[str] = frozenset()
    """Media types of images; none when it takes no images."""
    images_of: frozenset[str] = frozenset({"user"})
    """The roles whose messages can show images."""
    image_details: tuple[str, ...] = ("auto",)
    part_fields: tuple[str, ...] = ()
    """The vendor's own fields of a part of a message."""
