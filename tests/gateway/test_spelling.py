"""Header names and values that HTTP defines as case-insensitive are read in any case (RFC 9110, 8.3.1; RFC 9112, 6.1 and 9.1)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from serving_ui.catalogue.wire_format import Framing, WireFormat
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.support.raw_server import RawServer, raw_server

STREAM = {**CHAT, "stream": True}
EVENTS = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = json.dumps({"choices": [{}]}).encode()


@pytest.fixture
def raw(gateway: GatewayServer) -> Iterator[RawServer]:
    with raw_server() as server:
        gateway.add(endpoint("raw", entity(base=server.url)))
        yield server


def reply(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "kind",
    [
        "text/event-stream",
        "Text/Event-Stream",
        "TEXT/EVENT-STREAM;charset=UTF-8",
        "text/event-stream ; Charset=utf-8",
        " text/event-stream",
    ],
)
def test_the_content_type_of_a_stream_is_recognised_in_any_case(
    gateway: GatewayServer, raw: RawServer, kind: str
):
    raw.answer(reply(EVENTS, f"CONTENT-TYPE: {kind}", "Connection: Close"))
    answer = gateway.query("raw", STREAM)
    assert (answer.status_code, answer.content[-14:]) == (200, b"data: [DONE]\n\n")


@pytest.mark.parametrize("kind", ["text/event-streams", "application/json", "text/event-stream-x; a=b", ""])
def test_another_content_type_is_no_stream(gateway: GatewayServer, raw: RawServer, kind: str):
    raw.answer(reply(EVENTS, f"content-type: {kind}", "connection: close"))
    assert gateway.query("raw", STREAM).status_code == 501


@pytest.mark.parametrize("framing", list(Framing))
def test_the_content_type_of_each_framing_is_recognised_in_any_case(framing: Framing):
    wire_format = WireFormat(build_request=lambda *_: None, framing=framing)  # type: ignore[arg-type]
    assert wire_format.framing_of(framing.value.title() + " ;q=1") is framing
    assert wire_format.framing_of(framing.value + "x") is None


@pytest.mark.parametrize("name", ["transfer-encoding", "Transfer-Encoding", "TRANSFER-ENCODING"])
@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED"])
def test_chunked_bodies_are_recognised_in_any_case(
    gateway: GatewayServer, raw: RawServer, name: str, value: str
):
    raw.answer(reply(chunked(ANSWER), f"{name}: {value}"), close=False)
    assert [gateway.query("raw").content for _ in range(2)] == [ANSWER, ANSWER]
    assert raw.connections == 1


def test_a_chunked_body_without_its_end_is_an_error(gateway: GatewayServer, raw: RawServer):
    """Only a body without content-length and without chunks ends with its connection."""
    raw.answer(reply(chunked(ANSWER)[:-5], "Transfer-Encoding: Chunked"))
    assert gateway.query("raw").status_code == 503


@pytest.mark.parametrize("value", ["close", "Close", "CLOSE"])
def test_a_connection_with_connection_close_is_not_reused(gateway: GatewayServer, raw: RawServer, value: str):
    raw.answer(reply(ANSWER, f"Content-Length: {len(ANSWER)}", f"Connection: {value}"), close=False)
    assert [gateway.query("raw").content for _ in range(2)] == [ANSWER, ANSWER]
    assert raw.connections == 2


@pytest.mark.parametrize("value", ["Identity", "GZIP", "Gzip", "X-Gzip", "identity, gzip"])
def test_content_encodings_are_recognised_in_any_case(gateway: GatewayServer, raw: RawServer, value: str):
    body = ANSWER if value == "Identity" else gzip.compress(ANSWER)
    raw.answer(reply(body, f"CONTENT-ENCODING: {value}", f"content-length: {len(body)}"))
    assert gateway.query("raw").content == ANSWER
