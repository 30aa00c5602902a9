"""The parser of event streams: it returns the events of the standard, however the stream is split, and survives hostile input."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving_ui.catalogue.provider_errors import is_error_event
from serving_ui.gateway.sse import EventSplitter, Frame, TooLong, event

BOM = "\ufeff".encode()
LINES = st.sampled_from(
    [
        b'data: {"a": 1}',
        b"data:x",
        b"data:  x ",
        b"data: ",
        b"data:",
        b"data",
        b"data: : keepalive",
        b"data::x",
        b"data : x",
        b"Data: x",
        b" data: x",
        b"dat",
        b":",
        b": comment",
        b":data: x",
        b"event: e",
        b"event:e",
        b"event",
        b"event: ",
        b"id: 1",
        b"id: a\0b",
        b"id",
        b"retry: 10",
        b"retry: soon",
        b"other: x",
        b"",
        b"",
        b"",
        b"data: [DONE]",
        b"junk",
        b"event: error",
        b"event: Error",
        b"event: response.error",
        b"event: someException",
        b'error: {"code": 503}',
        b"error",
        b'{"a": 1}',
        b"{",
        "data: こんにちは".encode(),
        b"data: \xe3\x81",
        b"event: \xff",
        BOM + b"data: x",
        BOM,
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
WHOLE = st.lists(st.tuples(LINES, ENDS), max_size=14).map(lambda each: b"".join(a + b for a, b in each))
ANY = WHOLE | st.binary(max_size=60) | st.lists(st.sampled_from([b"data", b":", b" ", b"\r", b"\n", BOM[:2], BOM[2:], b"x"])).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 200), max_size=10)


def events(portions: list[bytes]) -> list[Frame]:
    splitter = EventSplitter()
    found = [event for portion in portions for event in splitter.feed(portion)]
    return found + splitter.finish()


def by_the_standard(stream: bytes) -> list[tuple[str, str]]:
    """Type and data of each event of a whole stream, by the algorithm of html.spec.whatwg.org, 9.2.6.

    Two differences: an error event needs no data, and errors in lines that the standard ignores are events, too.
    """
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    found: list[tuple[str, str]] = []
    data, kind = "", ""
    *lines, rest = re.split("\r\n|\n|\r", text)
    for line in [*lines, *([rest] if rest else []), ""]:
        if line == "":
            if data or is_error_event(kind):
                found.append((kind, data[:-1] if data.endswith("\n") else data))
            data, kind = "", ""
        elif line.startswith(":"):
            continue
        else:
            name, colon, value = line.partition(":")
            value = value[1:] if colon and value.startswith(" ") else value
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "error":
                found.append((name, value))
            elif line.startswith("{"):
                found.append(("", line))
    return found


@given(stream=ANY, cuts=CUTS)
@example(stream=b"data: a\r\n\r\ndata: b\r\n\r\n", cuts=[8, 10, 18, 20])
@example(stream=b"data: a\r\rdata: b\r\r", cuts=[8])
@example(stream=BOM + b"data: a\n\n", cuts=[1, 2])
@example(stream=BOM + BOM + b"data: a\n\ndata: b\n\n", cuts=[])
@example(stream=BOM[:2] + b"data: a\n\n", cuts=[1, 2, 3])
def test_events_are_those_of_the_standard_however_the_stream_is_split(stream: bytes, cuts: list[int]):
    """Except events with empty data or a comment as data."""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = events([stream[start:end] for start, end in pairwise(places)])
    expected = [(kind, data) for kind, data in by_the_standard(stream) if _says_something(kind, data)]
    assert [(name.decode(), data.decode()) for name, data in found] == expected


def _says_something(kind: str, data: str) -> bool:
    bare = data.encode().strip()
    return is_error_event(kind) or (bool(bare) and not bare.startswith(b":"))


@given(stream=ANY)
def test_a_stream_split_into_bytes_gives_the_same_events(stream: bytes):
    assert events([bytes([each]) for each in stream]) == events([stream])


def test_an_event_name_applies_to_its_own_event_only():
    assert events([b"event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n"]) == [
        (b"a", b"1"),
        (b"", b"2"),
        (b"", b"3"),
    ]


def test_an_event_is_returned_as_soon_as_its_empty_line_arrives():
    """Also after a CR, which a LF in the next portion may follow."""
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\r\r") == [(b"", b"1")]
    assert splitter.feed(b"\ndata: 2\n\n") == [(b"", b"2")]


def test_the_last_event_may_lack_its_end():
    """The standard would drop it, but servers with OpenAI's API send it."""
    assert events([b"data: 1\n\ndata: [DONE]"]) == [(b"", b"1"), (b"", b"[DONE]")]


@pytest.mark.parametrize(
    "filler", [b"data: : keepalive\n\n", b"data\n\n", b"data: \n\n", b":\n\n", b"data:\ndata:\n\n"]
)
def test_keep_alive_fillers_are_not_events(filler: bytes):
    assert events([filler * 3, b"data: 1\n\n", filler]) == [(b"", b"1")]


@pytest.mark.parametrize("portion", [b"x" * 2**20, b"data: " + b"x" * 2**20 + b"\n"])
def test_an_event_that_is_too_long_is_refused(portion: bytes):
    splitter = EventSplitter()
    with pytest.raises(TooLong):
        for _ in range(10):
            splitter.feed(portion)


@given(text=st.text() | st.sampled_from(["a\x85b", "a\u2028b", "a\u2029b", "a\u2027\u202a\u0084b"]))
def test_an_encoded_event_is_one_line_for_str_splitlines(text: str):
    """MLflow's client splits a stream with `str.splitlines`, which knows more line ends than the standard."""
    made = event(json.dumps({"said": text}, ensure_ascii=False).encode()).decode()
    (line,) = filter(None, made.splitlines())
    assert json.loads(line.removeprefix("data: ")) == {"said": text}
