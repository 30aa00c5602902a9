"""The body of a request is decoded within its limit, however it was sent, and what is no body is refused with a sentence."""

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
    """What `read_body` makes of a request that comes in these parts; it fails when more is asked for than there is."""
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
def test_a_body_is_what_it_was_before_it_was_encoded_and_cut(content: bytes, coding: str, size: int):
    sent = CODINGS[coding](content)
    parts = [sent[at : at + size] for at in range(0, len(sent), size)] or [b""]
    assert read(*parts, coding=coding) == content


def test_codings_may_be_named_in_headers_of_their_own():
    assert read(twice(b"hello"), coding="deflate|gzip") == b"hello"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_of_nothing_is_nothing(coding: str):
    assert read(b"", coding=coding) == b""


@pytest.mark.parametrize("coding", [*CODINGS, None])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(coding: str | None):
    encode = CODINGS[coding] if coding is not None else same
    whole = bytes(LIMIT.max_bytes)
    assert read(encode(whole), coding=coding) == whole
    with pytest.raises(RequestRefused, match=r"larger than 100000 bytes.*SERVING_UI_SOME_BYTES") as refused:
        read(encode(whole + b"x"), coding=coding)
    assert refused.value.status == 413


def test_a_limit_is_said_in_megabytes_when_it_is_some():
    with pytest.raises(RequestRefused, match=r"larger than 4 MB"):
        read(declared=4 * MB + 1, limit=BodyLimit(4 * MB, "X"))


def test_nothing_is_read_of_a_body_that_says_that_it_is_larger():
    with pytest.raises(RequestRefused, match="larger"):
        read(declared=LIMIT.max_bytes + 1)


def test_no_more_is_read_than_the_limit():
    """What follows is not there, so to ask for it would fail."""
    with pytest.raises(RequestRefused, match="larger"):
        read(bytes(60_000), bytes(60_000), leaves=True)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_little_that_becomes_much_is_never_there_as_a_whole(coding: str):
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
        (gzip.compress(b"hello" * 100, mtime=0)[:-1], "gzip", "ends in the middle"),
        (gzip.compress(b"hello" * 100, mtime=0)[:20], "gzip", "ends in the middle"),
        (zlib.compress(b"hello")[:-1], "deflate", "ends in the middle"),
        (raw(b"hello")[:-1], "deflate", "ends in the middle"),
        (gzip.compress(b"once", mtime=0), "gzip, gzip", "cannot be read as gzip"),
        (gzip.compress(b"hello" * 100, mtime=0)[:-5] + b"12345", "gzip", "cannot be read as gzip"),
        (gzip.compress(b"", mtime=0) * 2000, "gzip", "cannot be read as gzip"),
        (b"x", "br", "'br', which is not known here.*gzip, deflate"),
        (b"x", "gzip, zstd", "'zstd', which is not known here"),
        (b"x", "a" * 10_000, "'a{40}', which"),
        (b"x", "gzip, gzip, gzip", "more than 2 times"),
        (b"\x1f", "gzip", "ends in the middle"),
        (b"x", "deflate", "cannot be read|ends in the middle"),
    ],
)  # fmt: skip
def test_what_is_no_body_is_refused_with_a_sentence(sent: bytes, coding: str, words: str):
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
def test_whoever_leaves_before_the_end_has_sent_nothing(parts: tuple[bytes, ...]):
    with pytest.raises(ClientDisconnected):
        read(*parts, leaves=True)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfff"])
def test_what_no_text_may_hold(text: str):
    assert has_unstorable_characters(text)
    assert not has_unstorable_characters("a\n\t\x7f\uffff秘密😀")
