"""Request bodies are decoded within their limit, and undecodable ones are refused with a message."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.lib.request import (
    BodyLimit,
    ClientDisconnected,
    RequestRefused,
    has_unstorable_characters,
    read_body,
)

RUNNER = asyncio.Runner()
LIMIT = BodyLimit(100_000, "SERVING_UI_SOME_BYTES")
MB = 1024 * 1024


def raw(content: bytes) -> bytes:
    deflating = zlib.compressobj(wbits=-15)
    return deflating.compress(content) + deflating.flush()


def twice(content: bytes) -> bytes:
    return gzip.compress(raw(content))


def same(content: bytes) -> bytes:
    return content


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    " deflate ,": raw,
    "deflate, gzip": twice,
    "identity": same,
    "": same,
    "identity, gzip": gzip.compress,
}


@pytest.fixture(scope="module", autouse=True)
def _runner() -> Iterator[None]:
    with RUNNER:
        yield


def read(
    *parts: bytes,
    coding: str | None = None,
    declared: int | None = None,
    limit: BodyLimit = LIMIT,
    leaves: bool = False,
) -> bytes:
    """The result of `read_body` for a request in these parts. Fails if it reads after the last part."""
    headers = [(b"host", b"a")]
    headers += [] if coding is None else [(b"content-encoding", each.encode()) for each in coding.split("|")]
    headers += [] if declared is None else [(b"content-length", b"%d" % declared)]
    last = len(parts) if leaves else len(parts) - 1
    coming: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": at < last} for at, part in enumerate(parts)
    ]
    coming += [{"type": "http.disconnect"}] if leaves else []

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    scope = {"headers": headers}
    return RUNNER.run(read_body(scope=scope, headers=dict(headers), receive=receive, limit=limit))


@given(st.binary(max_size=2000), st.sampled_from(sorted(CODINGS)), st.integers(1, 500))
def test_a_body_is_decoded_however_it_is_encoded_and_split(content: bytes, coding: str, size: int):
    sent = CODINGS[coding](content)
    parts = [sent[at : at + size] for at in range(0, len(sent), size)] or [b""]
    assert read(*parts, coding=coding) == content


def test_codings_may_be_named_in_several_headers():
    assert read(twice(b"hello"), coding="deflate|gzip") == b"hello"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_empty_body_is_empty(coding: str):
    assert read(b"", coding=coding) == b""


@pytest.mark.parametrize("coding", [*CODINGS, None])
def test_a_body_may_be_as_large_as_the_limit_but_not_larger(coding: str | None):
    encode = CODINGS[coding] if coding is not None else same
    whole = bytes(LIMIT.max_bytes)
    assert read(encode(whole), coding=coding) == whole
    with pytest.raises(RequestRefused, match=r"larger than 100000 bytes.*SERVING_UI_SOME_BYTES") as refused:
        read(encode(whole + b"x"), coding=coding)
    assert refused.value.status == 413


def test_a_limit_is_named_in_megabytes_if_it_is_at_least_one():
    with pytest.raises(RequestRefused, match=r"larger than 4 MB"):
        read(declared=4 * MB + 1, limit=BodyLimit(4 * MB, "X"))


def test_a_body_with_a_content_length_above_the_limit_is_not_read():
    with pytest.raises(RequestRefused, match="larger"):
        read(declared=LIMIT.max_bytes + 1)


def test_reading_stops_at_the_limit():
    """There are no further parts, so reading more would fail."""
    with pytest.raises(RequestRefused, match="larger"):
        read(bytes(60_000), bytes(60_000), leaves=True)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_compressed_body_above_the_limit_is_not_decompressed_completely(coding: str):
    """100 MB of zeros."""
    compressing = zlib.compressobj(9, wbits=15 if coding == "deflate" else 31)
    much = b"".join(compressing.compress(bytes(MB)) for _ in range(100)) + compressing.flush()
    sent = gzip.compress(much) if "," in coding else much
    tracemalloc.start()
    try:
        with pytest.raises(RequestRefused, match="larger than 2 MB"):
            read(sent, coding=coding, limit=BodyLimit(2 * MB, "X"))
        assert tracemalloc.get_traced_memory()[1] < 12 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("sent", "coding", "words"),
    [
        (b"plain", "gzip", "cannot be read as gzip"),
        (b"plain", "deflate", "cannot be read as deflate"),
        (gzip.compress(b"hello" * 100, mtime=0)[:-1], "gzip", "ends too early"),
        (gzip.compress(b"hello" * 100, mtime=0)[:20], "gzip", "ends too early"),
        (zlib.compress(b"hello")[:-1], "deflate", "ends too early"),
        (raw(b"hello")[:-1], "deflate", "ends too early"),
        (gzip.compress(b"once", mtime=0), "gzip, gzip", "cannot be read as gzip"),
        (gzip.compress(b"hello" * 100, mtime=0)[:-5] + b"12345", "gzip", "cannot be read as gzip"),
        (gzip.compress(b"", mtime=0) * 2000, "gzip", "cannot be read as gzip"),
        (b"x", "br", "'br', which is not supported.*gzip, deflate"),
        (b"x", "gzip, zstd", "'zstd', which is not supported"),
        (b"x", "a" * 10_000, "'a{40}', which"),
        (b"x", "gzip, gzip, gzip", "more than 2 times"),
        (b"\x1f", "gzip", "ends too early"),
        (b"x", "deflate", "cannot be read|ends too early"),
    ],
)  # fmt: skip
def test_an_undecodable_body_is_refused_with_a_message(sent: bytes, coding: str, words: str):
    with pytest.raises(RequestRefused, match=words) as refused:
        read(sent, coding=coding)
    assert str(refused.value).endswith(".")


def test_gzip_may_have_several_members():
    """RFC 1952, 2.2."""
    assert read(gzip.compress(b"a") + gzip.compress(b"b"), coding="gzip") == b"ab"


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["gzip", "deflate", "gzip, deflate"]))
def test_any_bytes_are_decoded_or_refused(sent: bytes, coding: str):
    try:
        read(sent, coding=coding)
    except RequestRefused:
        return


@pytest.mark.parametrize("parts", [(), (b"ab",)])
def test_a_disconnect_before_the_end_of_the_body_raises(parts: tuple[bytes, ...]):
    with pytest.raises(ClientDisconnected):
        read(*parts, leaves=True)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfff"])
def test_texts_with_nul_or_invalid_encoding_are_recognised(text: str):
    assert has_unstorable_characters(text)
    assert not has_unstorable_characters("a\n\t\x7f\uffff秘密😀")
