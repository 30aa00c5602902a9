"""Content is decompressed however it is split, and large content in pieces of limited size."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from random import randbytes
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.lib.content_coding import MAX_PIECE_BYTES, Decoder, NotDecodable, decoder


def raw_deflate(content: bytes) -> bytes:
    """Deflate without zlib's header, which some servers send."""
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(content) + packing.flush()


def members(content: bytes) -> bytes:
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


packings = pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, raw_deflate, members], ids=["gzip", "zlib", "bare", "members"]
)


def decompress(portions: list[bytes]) -> tuple[bytes, Decoder]:
    made, content = Decoder(allow_raw=True), b""
    for portion in portions:
        made.feed(portion)
        while piece := made.take():
            assert len(piece) <= MAX_PIECE_BYTES
            content += piece
    return content, made


@packings
@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_content_is_decompressed_however_it_is_split(
    pack: Callable[[bytes], bytes], content: bytes, cuts: list[int]
):
    whole = pack(content)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    found, made = decompress([whole[start:end] for start, end in pairwise(places)])
    assert (found, made.is_complete) == (content, True)


@packings
def test_truncated_content_is_incomplete(pack: Callable[[bytes], bytes]):
    whole = pack(b"some content that is long enough" * 20)
    for end in range(1, len(whole)):
        found, made = decompress([whole[:end]])
        ends_with_a_member = pack is members and found == b"some content that is long enough" * 10
        assert not made.is_complete or ends_with_a_member


@packings
def test_large_content_is_returned_in_pieces(pack: Callable[[bytes], bytes]):
    content = b"x" * (10 * MAX_PIECE_BYTES + 7)
    whole = pack(content)
    assert len(whole) < MAX_PIECE_BYTES / 10
    assert decompress([whole])[0] == content


def test_the_time_is_not_quadratic_in_the_size():
    """CPU time. Linear: about 0.2 s; a copy of everything at each step would take minutes."""
    began = process_time()
    with pytest.raises(NotDecodable, match="in more than 1000 parts"):
        decompress([gzip.compress(b"") * 200_000])
    assert decompress([gzip.compress(b"x" * 16) * 900 + gzip.compress(randbytes(16_000_000))])[1].is_complete
    assert process_time() - began < 8


def test_empty_content_is_complete():
    assert decompress([])[1].is_complete


def test_bytes_after_the_end_are_ignored():
    found, made = decompress([gzip.compress(b"content"), b"\0\0\0", b"more"])
    assert (found, made.is_complete) == (b"content", True)


@given(content=st.binary(max_size=200))
def test_random_bytes_raise_only_the_declared_error(content: bytes):
    with suppress(NotDecodable):
        decompress([content])


def test_content_that_is_not_gzip_is_refused():
    with pytest.raises(NotDecodable):
        made = Decoder()
        made.feed(b'{"choices": []}')
        made.take()


@pytest.mark.parametrize("coding", [b"", b"identity", b"Identity, IDENTITY", b" , "])
def test_identity_needs_no_decoder(coding: bytes):
    assert decoder(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"gzip, br", b"compress", b"\xff"])
def test_an_unknown_coding_is_refused(coding: bytes):
    with pytest.raises(NotDecodable):
        decoder(coding)


@pytest.mark.parametrize("coding", [b"gzip", b"X-GZIP", b"Deflate", b"identity, gzip"])
def test_the_names_of_codings_ignore_case(coding: bytes):
    assert isinstance(decoder(coding), Decoder)
