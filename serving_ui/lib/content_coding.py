"""Compressed HTTP bodies (RFC 9110, 8.4.1): what was compressed comes back in pieces of bounded size, as it arrives. Pure."""

from __future__ import annotations

import zlib

MAX_PIECE_BYTES = 256 * 1024
"""No piece is longer, in bytes, however well it was compressed."""

_INPUT_BYTES = 16 * 1024
"""So much is handed to zlib at once: what it leaves is copied each time, so the time would grow with the square of the size."""
_MAX_MEMBERS = 1000
_DECODABLE = frozenset({b"gzip", b"x-gzip", b"deflate"})
_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 2
_GZIP_OR_ZLIB = 47  # zlib finds out which
_RAW_DEFLATE = -15


class NotDecodable(ValueError):
    """A coding that is not known here, or bytes that are not coded as was said."""


class Decoder:
    """`feed` what arrives, then `take` until it gives b"". At the end `is_whole` says whether something is missing."""

    __slots__ = ("_inflating", "_may_be_bare", "_members", "_waiting")

    def __init__(self, *, may_be_bare: bool = False) -> None:
        """ "deflate" is zlib's format, but some send it without its head: then it `may_be_bare`."""
        self._may_be_bare = may_be_bare
        self._waiting = bytearray()
        self._inflating: zlib._Decompress | None = None
        self._members = 0

    def feed(self, portion: bytes) -> None:
        self._waiting += portion

    def take(self) -> bytes:
        """The next piece; b"" when more must be fed. Raises NotDecodable."""
        piece = b""
        while not piece and (self._inflating is not None or self._begins()):
            inflating = self._inflating or zlib.decompressobj(self._bits())
            given = bytes(self._waiting[:_INPUT_BYTES])
            try:
                piece = inflating.decompress(given, MAX_PIECE_BYTES)
            except zlib.error as problem:
                raise NotDecodable("the body is not compressed as its head says") from problem
            left = inflating.unused_data if inflating.eof else inflating.unconsumed_tail
            del self._waiting[: len(given) - len(left)]
            self._inflating = None if inflating.eof else inflating
            self._members += inflating.eof
            if self._members > _MAX_MEMBERS:
                raise NotDecodable(f"the body was compressed in more than {_MAX_MEMBERS} parts")
            if not given:  # zlib has given all that it had, too
                break
        return piece

    @property
    def is_whole(self) -> bool:
        """Nothing has begun and not ended."""
        return self._inflating is None and (self._members > 0 or not self._waiting)

    def _begins(self) -> bool:
        """Behind the end another member may follow (RFC 1952, 2.2). Anything else there means nothing."""
        if self._members and not self._waiting.startswith(_GZIP[: len(self._waiting)]):
            self._waiting.clear()
        return len(self._waiting) >= _HEADER_BYTES

    def _bits(self) -> int:
        """What zlib must be told of what waits."""
        first, second = self._waiting[:_HEADER_BYTES]
        has_head = self._waiting.startswith(_GZIP) or (first & 15 == 8 and (first * 256 + second) % 31 == 0)
        return _GZIP_OR_ZLIB if has_head or not self._may_be_bare else _RAW_DEFLATE


def decoder(coding: bytes) -> Decoder | None:
    """For a body with this `content-encoding`, in any case; None when it is not compressed. Raises NotDecodable."""
    names = [name for each in coding.lower().split(b",") if (name := each.strip()) not in {b"", b"identity"}]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _DECODABLE:
        raise NotDecodable(f"the coding {coding.decode('latin-1')} is not known here")
    return Decoder(may_be_bare=names[0] == b"deflate")
