"""Compressed bodies of providers that compress although they were asked not to. Pure."""

from __future__ import annotations

import zlib

_ANY_HEAD = 32 + zlib.MAX_WBITS  # gzip's or zlib's
_NO_HEAD = -zlib.MAX_WBITS  # what some servers call deflate


def unpacked(content: bytes, *, coding: str, most: int) -> bytes:
    """The beginning of the body, at most `most` bytes after decoding; empty when it cannot be read."""
    match coding.strip().lower():
        case "" | "identity":
            return content[:most]
        case "gzip" | "x-gzip" | "deflate":
            return _inflated(content, _ANY_HEAD, most) or _inflated(content, _NO_HEAD, most)
    return b""


def _inflated(content: bytes, head: int, most: int) -> bytes:
    try:
        return zlib.decompressobj(head).decompress(content, most)
    except zlib.error:
        return b""
