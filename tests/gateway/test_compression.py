"""Providers that compress although the request does not allow it: supported encodings are decompressed, others are an error."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway.conftest import CANARY, CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import DONE, END, chunk
from tests.gateway.test_retries import REPLY
from tests.support.vendor import EVENT_STREAM, Answer, Vendor

STREAM = {**CHAT, "stream": True}
MB = 2**20


def bare(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(content) + packing.flush()


codings = pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)],
    ids=["gzip", "deflate", "bare deflate"],
)


@pytest.fixture
def packed(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """A vendor behind the endpoint `packed`."""
    gateway.add(endpoint("packed", entity(base=vendor.url)))
    return vendor


def whole(content: bytes, *, status: int = 200, coding: str = "gzip", cut: bool = False) -> Answer:
    head = {"Content-Type": "application/json", "Content-Encoding": coding}
    return Answer(status, head, (content,), cut=cut)


def stream(*portions: bytes | threading.Event, cut: bool = False) -> Answer:
    head = {"Content-Type": EVENT_STREAM, "Content-Encoding": "gzip"}
    return Answer(200, head, portions, streamed=True, cut=cut)


@codings
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_the_message_of_a_compressed_error_is_quoted(
    gateway: GatewayServer, packed: Vendor, coding: str, pack: Callable[[bytes], bytes], status: int
):
    error_body = json.dumps({"error": {"message": f"Not today, {CANARY}."}}).encode()
    packed.set_answers(whole(pack(error_body), status=status, coding=coding))
    for body in (CHAT, STREAM):
        answer = gateway.query("packed", body)
        assert answer.json()["message"].endswith("The provider said: Not today, [secret].")


@codings
def test_a_compressed_reply_is_decompressed(
    gateway: GatewayServer, packed: Vendor, coding: str, pack: Callable[[bytes], bytes]
):
    packed.set_answers(whole(pack(json.dumps(REPLY).encode()), coding=coding))
    for _ in range(2):
        answer = gateway.query("packed")
        assert (answer.status_code, answer.json()) == (200, REPLY)
        assert "content-encoding" not in answer.headers
    assert (gateway.usage.records[0].tokens_in, gateway.usage.records[0].tokens_out) == (3, 2)


def test_a_compressed_stream_is_decompressed_event_by_event(gateway: GatewayServer, packed: Vendor):
    packing, go = zlib.compressobj(wbits=31), threading.Event()
    first = packing.compress(chunk("a")) + packing.flush(zlib.Z_SYNC_FLUSH)
    packed.set_answers(stream(first, go, packing.compress(END + DONE) + packing.flush()))
    with gateway.query("packed", STREAM, stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) + b"\n\n" == chunk("a")
        go.set()
        assert [line for line in lines if line][-1] == b"data: [DONE]"


@pytest.mark.parametrize("missing", [1, 8, 20])
def test_a_compressed_body_that_is_cut_is_an_error(gateway: GatewayServer, packed: Vendor, missing: int):
    """The HTTP message is complete, but the compressed data in it is not."""
    packed.set_answers(whole(gzip.compress(json.dumps(REPLY).encode())[:-missing]))
    assert gateway.query("packed").status_code == 503
    packed.set_answers(stream(gzip.compress(chunk("a") * 9)[:-missing]))
    answer = gateway.query("packed", STREAM)
    assert answer.status_code == 503 or b'"error_code":"TEMPORARILY_UNAVAILABLE"' in answer.content
    assert b"[DONE]" not in answer.content


def test_a_body_with_a_false_content_encoding_is_an_error(gateway: GatewayServer, packed: Vendor):
    packed.set_answers(whole(b'{"choices": []}'))
    answer = gateway.query("packed")
    assert (answer.status_code, "not compressed as its header says" in answer.text) == (503, True)
    packed.set_answers(whole(b'{"error": "Not today."}', status=400))
    assert gateway.query("packed").status_code == 400


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
def test_an_unsupported_content_encoding_is_named_in_the_error(
    gateway: GatewayServer, packed: Vendor, coding: str
):
    packed.set_answers(whole(b"\x0b\x02\x80{}\x03", coding=coding))
    for body in (CHAT, STREAM):
        answer = gateway.query("packed", body)
        assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert "compressed its answer" in answer.json()["message"]
    packed.set_answers(whole(b"\x0b\x02\x80{}\x03", status=400, coding=coding))
    answer = gateway.query("packed")
    assert (answer.status_code, "said" in answer.json()["message"]) == (400, False)


BOMB = gzip.compress(b" " * 256 * MB)


@pytest.mark.parametrize(
    ("answer", "body"),
    [(whole(BOMB), CHAT), (stream(BOMB), STREAM), (whole(BOMB, status=400), CHAT)],
    ids=["whole", "stream", "error"],
)
def test_a_decompression_bomb_is_refused_with_bounded_memory(
    gateway: GatewayServer, packed: Vendor, answer: Answer, body: object
):
    packed.set_answers(answer)
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(1) as other:
            bombed = other.submit(gateway.query, "packed", body)
            served = [gateway.query("chat").status_code for _ in range(3)]
            got = bombed.result()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert served == [200] * 3
    assert got.status_code in {400, 503}
    assert peak < 160 * MB
