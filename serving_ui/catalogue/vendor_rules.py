"""What a vendor requires of a chat request beyond what OpenAI requires.

Each vendor's file declares one `VendorRules`; conversation.py and openai_request.py apply it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

_DIGEST_LENGTH = 12
_FITTED_PATTERN = re.compile(rf"__x[0-9a-f]{{{_DIGEST_LENGTH}}}\Z")


class IdentifierFormat:
    """The format that a vendor accepts for a tool's name or a tool call's id.

    `first` and `rest` are the contents of a regular expression's character class, for the first and for all other characters.
    """

    def __init__(self, *, rest: str, max_length: int, first: str = "") -> None:
        self.max_length = max_length
        self._first = re.compile(f"[{first or rest}]")
        self._other = re.compile(f"[^{rest}]")
        self._whole = re.compile(f"[{first or rest}][{rest}]{{0,{max_length - 1}}}")

    def fit(self, text: str) -> str:
        """The text if the vendor accepts it, else a replacement that it accepts: deterministic, and different for each text.

        A text that looks like a replacement is replaced too, so that `is_fitted` is never wrong about one.
        """
        if self._whole.fullmatch(text) and not is_fitted(text):
            return text
        mark = "__x" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
        stem = self._other.sub("_", text)
        if not self._first.match(stem):
            stem = f"_{stem}"
        return stem[: self.max_length - len(mark)] + mark


def is_fitted(text: str) -> bool:
    """Whether the text is a replacement made by `IdentifierFormat.fit`."""
    return _FITTED_PATTERN.search(text) is not None


@dataclass(frozen=True, kw_only=True)
class VendorRules:
    provider: str
    """The vendor's name in error messages."""
    tool_names: IdentifierFormat
    call_ids: IdentifierFormat
    can_forbid_tools: bool = True
    """Whether a request may list tools and forbid their use. If not, the tools are left out of such a request."""
    history_as_text: bool = False
    """Whether earlier tool calls and results are sent as plain text when the request lists no tools, because the vendor may
    refuse them otherwise."""
    separate_tool_turns: bool = False
    """Whether tool calls and tool results must be turns without other content."""
    vendor_tools_field: str = ""
    """The vendor's own request field for tools, if callers may use it."""
    takes_thinking_blocks: bool = False
    """Whether the `thinking_blocks` of an assistant's message are sent back."""
    max_stop_sequences: int | None = None
    blank_stop_sequences: bool = True
    """Whether a stop sequence may consist of white space."""
    image_types: frozenset[str] = frozenset()
    """Accepted media types of images; empty if the vendor accepts no images."""
    image_roles: frozenset[str] = frozenset({"user"})
    """The roles whose messages may contain images."""
    image_details: tuple[str, ...] = ("auto",)
    """Accepted values of an image's `detail`."""
    vendor_part_fields: tuple[str, ...] = ()
    """The vendor's own fields of a content part, which callers may use."""
