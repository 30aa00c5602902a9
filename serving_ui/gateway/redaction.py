"""Replaces secrets in a provider's message by `[secret]`. Pure functions.

Call it on the whole text *before* shortening it, because a part of a secret is not found. It finds secrets in plain text, JSON-escaped,
URL-encoded, HTML-escaped (also nested), in base64, and the visible parts of a masked secret (`sk-ab***yz`). It does not find a
secret that a provider encodes in another way.
"""

from __future__ import annotations

import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from html import unescape
from itertools import islice

MIN_SECRET_BYTES = 4
"""A shorter secret is ignored, because it would match ordinary text."""
_REPLACEMENT = b"[secret]"
_MAX_NESTING = 3
_MAX_MASKS = 16
_MAX_VISIBLE_BYTES = 256
_MIN_VISIBLE_BYTES = 3
_ESCAPE = re.compile(
    rb"""\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\["'\\/bfnrt]"""
    rb"""|%[0-9a-fA-F]{2}|&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);"""
)
_CUT_ESCAPE = re.compile(rb"(?:\\(?:u[0-9a-fA-F]{0,3})?|%[0-9a-fA-F]?|&\#?\w{0,7})\Z")
_CONTROL_CHARACTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# `***`, bullets and ellipses, middle dots, `...`, `xxxx`. Written as `\*\**`, not `\*+`: if each alternative begins with a literal
# byte, `re` skips all text without such a byte. That is 26 times faster.
_MASK = re.compile(
    rb"\*\**|\xe2\x80[\xa2\xa6](?:\xe2\x80[\xa2\xa6])*|\xc2\xb7(?:\xc2\xb7)*|\.\.+|xxxx+|XXXX+"
)
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
# Bytes that mean the same are made equal before comparing: "+" and space in forms, and the two alphabets of base64.
_FOLD = bytes.maketrans(b"+", b" ")
_FOLD_BASE64 = bytes.maketrans(b"-_ ", b"+/+")

Span = tuple[int, int]


def redact(text: str, secrets: Iterable[str], *, is_cut: bool = False) -> str:
    """The text with `[secret]` in place of each secret.

    `is_cut`: the text was truncated, so an end that may be the beginning of a secret is removed, too.
    """
    found = {secret.strip().encode(errors="surrogatepass") for secret in secrets}
    found = {secret for secret in found if len(secret) >= MIN_SECRET_BYTES}
    if not found:
        return text
    content = text.encode(errors="surrogatepass")
    spans: list[Span] = []
    end = len(content)
    plain = sorted({spelling for secret in found for spelling in _decodings(secret)})
    coded = sorted({spelling for secret in found for spelling in _base64_spellings(secret)})
    for view in _views(content):
        folded, folded_base64 = view.content.translate(_FOLD), view.content.translate(_FOLD_BASE64)
        for secret in plain:
            spans += map(view.source, _occurrences(folded, secret.translate(_FOLD)))
        for spelling in coded:
            spans += (
                view.source(_base64_run(view.content, occurrence))
                for occurrence in _occurrences(folded_base64, spelling)
            )
        spans += map(view.source, _masked_spans(view.content, plain))
        if is_cut:
            cut = _truncated_secret_start(view.content, plain, coded)
            end = min(end, view.source((cut, cut))[0])
    return _replaced(content[:end], spans).decode(errors="replace")


class _View:
    """A text after decoding its escapes, with the position in the original text of each of its bytes."""

    def __init__(self, content: bytes, before: _View | None = None, starts: list[int] | None = None) -> None:
        self.content = content
        self._before = before
        self._starts = starts or [0]
        self._origins: list[Span] = [(0, 0)]
        """For each of `starts`: the position of that part before decoding, and the length of its escape (0 if it was none)."""

    def decoded(self) -> _View | None:
        """The view after decoding once more, or None if it contains no escape."""
        parts: list[bytes] = []
        starts: list[int] = []
        origins: list[Span] = []
        at = size = 0

        def add(part: bytes, begin: int, length: int) -> None:
            nonlocal size
            parts.append(part)
            starts.append(size)
            origins.append((begin, length))
            size += len(part)

        for escape in _ESCAPE.finditer(self.content):
            if escape.start() > at:
                add(self.content[at : escape.start()], at, 0)
            add(_unescaped(escape[0]), escape.start(), len(escape[0]))
            at = escape.end()
        if not at:
            return None
        add(self.content[at:], at, 0)
        view = _View(b"".join(parts), self, starts)
        view._origins = origins
        return view

    def source(self, span: Span) -> Span:
        """The span of the original text that `span` was decoded from."""
        if self._before is None:
            return span
        begin, end = span
        first = self._origin(begin)[0]
        return self._before.source((first, self._origin(end - 1)[1] if end > begin else first))

    def _origin(self, at: int) -> Span:
        """The span of the byte `at` before decoding."""
        part = bisect_right(self._starts, at) - 1
        begin, length = self._origins[part]
        if length:
            return begin, begin + length
        begin += at - self._starts[part]
        return begin, begin + 1


def _views(content: bytes) -> Iterator[_View]:
    view: _View | None = _View(content)
    for _ in range(1 + _MAX_NESTING):
        if view is None:
            return
        yield view
        view = view.decoded()


def _unescaped(escape: bytes) -> bytes:
    if escape.startswith(b"%"):
        return bytes.fromhex(escape[1:].decode())
    if escape.startswith(b"&"):
        return unescape(escape.decode()).encode(errors="surrogatepass")
    if escape.startswith(b"\\u"):
        units = b"".join(bytes.fromhex(unit.decode()) for unit in escape.split(b"\\u")[1:])
        return units.decode("utf-16-be", "surrogatepass").encode(errors="surrogatepass")
    return _CONTROL_CHARACTERS.get(escape[1:], escape[1:])


def _decodings(secret: bytes) -> list[bytes]:
    """The secret, and what it becomes when its own characters are decoded as escapes."""
    return [view.content for view in _views(secret)]


def _base64_spellings(secret: bytes) -> Iterator[bytes]:
    """The three base64 spellings of the secret, by its offset modulo 3, without the characters that adjacent bytes change."""
    for before in range(3):
        whole = b64encode(bytes(before) + secret)
        yield whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]


def _occurrences(content: bytes, secret: bytes) -> Iterator[Span]:
    at = content.find(secret)
    while at >= 0:
        yield at, at + len(secret)
        at = content.find(secret, at + len(secret))


def _base64_run(content: bytes, occurrence: Span) -> Span:
    """The span of the whole base64 text around `occurrence`."""
    begin, end = occurrence
    return len(content[:begin].rstrip(_BASE64)), len(content) - len(content[end:].lstrip(_BASE64))


def _masked_spans(content: bytes, secrets: list[bytes]) -> Iterator[Span]:
    """Spans of masks (`***`) with the parts of a secret before and after them."""
    for mask in islice(_MASK.finditer(content), _MAX_MASKS):
        begin, end = mask.span()
        before, after = (
            content[max(0, begin - _MAX_VISIBLE_BYTES) : begin],
            content[end : end + _MAX_VISIBLE_BYTES],
        )
        for secret in secrets:
            head, tail = _overlap(before, secret), _overlap(secret, after)
            if head or tail:
                yield begin - head, end + tail


def _truncated_secret_start(content: bytes, plain: list[bytes], coded: list[bytes]) -> int:
    """The position from which the end of the content may be the beginning of a secret."""
    while escape := _CUT_ESCAPE.search(content):
        content = content[: escape.start()]
    folded, folded_base64 = content.translate(_FOLD), content.translate(_FOLD_BASE64)
    begun = [_overlap(folded, secret.translate(_FOLD)) for secret in plain]
    begun += [_overlap(folded_base64, spelling) for spelling in coded]
    return len(content) - max(begun)


def _overlap(text: bytes, following: bytes) -> int:
    """Length of the longest end of `text` that `following` begins with; 0 if it is below _MIN_VISIBLE_BYTES."""
    if text[-_MIN_VISIBLE_BYTES:] not in following:
        return 0
    lengths = range(min(len(text), len(following)), _MIN_VISIBLE_BYTES - 1, -1)
    return next((length for length in lengths if text.endswith(following[:length])), 0)


def _replaced(content: bytes, spans: list[Span]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for begin, end in sorted(spans):
        if begin >= at:
            parts += [content[at:begin], _REPLACEMENT]
        at = max(at, end)
    return b"".join([*parts, content[at:]])
