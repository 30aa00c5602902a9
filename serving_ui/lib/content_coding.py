"""Decompresses HTTP bodies (RFC 9110, 8.4.1) as they arrive, in pieces of bounded size. No I/O."""

from __future__ import annotations

import zlib

MAX_PIECE_BYTES = 256 * 1024
"""The maximum size of a decompressed piece."""

_INPUT_BYTES = 16 * 1024
"""The input of one zlib call. zlib copies the unused input at each call, so that larger inputs would take quadratic time."""
_MAX_MEMBERS = 1000
_DECODABLE = frozenset({b"gzip", b"x-gzip", b"deflate"})
_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 2
_GZIP_OR_ZLIB = 47  # zlib detects which of the two
_RAW_DEFLATE = -15


class NotDecodable(ValueError):
    """The content coding is not supported, or the bytes are not valid in it."""


class Decoder:
    """Call `feed` with received bytes, then `take` until it returns b"". `is_complete` tells at the end whether the body was complete."""

    __slots__ = ("_allow_raw", "_inflater", "_members", "_pending")

    def __init__(self, *, allow_raw: bool = False) -> None:
        """`allow_raw` accepts deflate data without the zlib header, which some senders call "deflate" too."""
        self._allow_raw = allow_raw
        self._pending = bytearray()
        self._inflater: zlib._Decompress | None = None
        self._members = 0

    def feed(self, content: bytes) -> None:
        self._pending += content

    def take(self) -> bytes:
        """The next decompressed piece; b"" if more input is needed. Raises NotDecodable."""
        piece = b""
        while not piece and (self._inflater is not None or self._member_begins()):
            inflater = self._inflater or zlib.decompressobj(self._bits())
            chunk = bytes(self._pending[:_INPUT_BYTES])
            try:
                piece = inflater.decompress(chunk, MAX_PIECE_BYTES)
            except zlib.error as problem:
                raise NotDecodable("the body is not compressed as its header says") from problem
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            del self._pending[: len(chunk) - len(left)]
            self._inflater = None if inflater.eof else inflater
            self._members += inflater.eof
            if self._members > _MAX_MEMBERS:
                raise NotDecodable(f"the body was compressed in more than {_MAX_MEMBERS} parts")
            if not chunk:  # zlib has no buffered output left either
                break
        return piece

    @property
    def is_complete(self) -> bool:
        """Whether every member that has begun has ended."""
        return self._inflater is None and (self._members > 0 or not self._pending)

    def _member_begins(self) -> bool:
        """Whether another member begins. Bytes after the last member that are no gzip member (RFC 1952, 2.2) are ignored."""
        if self._members and not self._pending.startswith(_GZIP[: len(self._pending)]):
            self._pending.clear()
        return len(self._pending) >= _HEADER_BYTES

    def _bits(self) -> int:
        """The `wbits` argument of zlib for the pending bytes."""
        first, second = self._pending[:_HEADER_BYTES]
        has_head = self._pending.startswith(_GZIP) or (first & 15 == 8 and (first * 256 + second) % 31 == 0)
        return _GZIP_OR_ZLIB if has_head or not self._allow_raw else _RAW_DEFLATE


def decoder(coding: bytes) -> Decoder | None:
    """The decoder for this value of `content-encoding`, case-insensitive; None if the body is not compressed. Raises NotDecodable."""
    names = [name for each in coding.lower().split(b",") if (name := each.strip()) not in {b"", b"identity"}]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _DECODABLE:
        raise NotDecodable(f"the coding {coding.decode('latin-1')} is not supported")
    return Decoder(allow_raw=names[0] == b"deflate")
