"""Whatever was compressed comes back, however it is cut; what would not fit into memory comes in pieces."""

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


def bare(content: bytes) -> bytes:
    """Deflate without zlib's head, as some servers send it."""
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(content) + packing.flush()


def members(content: bytes) -> bytes:
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


packings = pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, bare, members], ids=["gzip", "zlib", "bare", "members"]
)


def unpacked(portions: list[bytes]) -> tuple[bytes, Decoder]:
    made, content = Decoder(allow_raw=True), b""
    for portion in portions:
        made.feed(portion)
        while piece := made.take():
            assert len(piece) <= MAX_PIECE_BYTES
            content += piece
    return content, made


@packings
@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_split_gives_back_what_was_packed(
    pack: Callable[[bytes], bytes], content: bytes, cuts: list[int]
):
    whole = pack(content)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    found, made = unpacked([whole[start:end] for start, end in pairwise(places)])
    assert (found, made.is_whole) == (content, True)


@packings
def test_what_is_cut_is_not_whole(pack: Callable[[bytes], bytes]):
    whole = pack(b"some content that is long enough" * 20)
    for end in range(1, len(whole)):
        found, made = unpacked([whole[:end]])
        ends_with_a_member = pack is members and found == b"some content that is long enough" * 10
        assert not made.is_whole or ends_with_a_member


@packings
def test_much_comes_in_pieces(pack: Callable[[bytes], bytes]):
    content = b"x" * (10 * MAX_PIECE_BYTES + 7)
    whole = pack(content)
    assert len(whole) < MAX_PIECE_BYTES / 10
    assert unpacked([whole])[0] == content


def test_the_time_does_not_grow_with_the_square_of_the_size():
    """Processor seconds: 0.2 here; what is copied whole at each step would take minutes."""
    began = process_time()
    with pytest.raises(NotDecodable, match="in more than 1000 parts"):
        unpacked([gzip.compress(b"") * 200_000])
    assert unpacked([gzip.compress(b"x" * 16) * 900 + gzip.compress(randbytes(16_000_000))])[1].is_whole
    assert process_time() - began < 8


def test_nothing_at_all_is_whole():
    assert unpacked([])[1].is_whole


def test_what_follows_the_end_means_nothing():
    found, made = unpacked([gzip.compress(b"content"), b"\0\0\0", b"more"])
    assert (found, made.is_whole) == (b"content", True)


@given(content=st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_else(content: bytes):
    with suppress(NotDecodable):
        unpacked([content])


def test_what_is_said_to_be_gzip_and_is_not_is_refused():
    with pytest.raises(NotDecodable):
        made = Decoder()
        made.feed(b'{"choices": []}')
        made.take()


@pytest.mark.parametrize("coding", [b"", b"identity", b"Identity, IDENTITY", b" , "])
def test_what_is_not_compressed_needs_no_decoder(coding: bytes):
    assert decoder(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"gzip, br", b"compress", b"\xff"])
def test_what_is_not_known_is_refused(coding: bytes):
    with pytest.raises(NotDecodable):
        decoder(coding)


@pytest.mark.parametrize("coding", [b"gzip", b"X-GZIP", b"Deflate", b"identity, gzip"])
def test_what_is_known_is_known_in_any_case(coding: bytes):
    assert isinstance(decoder(coding), Decoder)
