"""Replies of arbitrary bytes in arbitrary portions: the same bytes give the same events, and invalid ones an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.catalogue.wire_format import Framing
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.reported_failure import to_error
from serving_ui.gateway.response_translator import ResponseTranslator
from serving_ui.gateway.token_counter import TokenCounter
from tests.catalogue.test_any_body import ANYTHING
from tests.support import event_stream_frames
from tests.support.recordings import WITH_REPLY, WITH_STREAM, Recording, replace_value

every_stream = pytest.mark.parametrize("recorded", WITH_STREAM, ids=str)
every_answer = pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
CUTS = st.lists(st.integers(min_value=0, max_value=100_000), max_size=12)


@dataclass(frozen=True)
class Outcome:
    """What the caller gets from a stream."""

    content: bytes
    error: str | None
    is_over: bool
    tokens: tuple[int, int]


def translator(recorded: Recording) -> ResponseTranslator:
    return ResponseTranslator(
        wire_format=recorded.wire_format,
        request_context=lambda: recorded.context,
        fail=lambda failed: to_error(failed, endpoint="e", secrets=()),
        counter=TokenCounter(),
        shows_usage=True,
    )


def translate(recorded: Recording, portions: list[bytes]) -> Outcome:
    passed = translator(recorded)
    stream = passed.open_stream(Framing(recorded.content_type))
    content = b""
    for portion in portions:
        if not stream.is_over and stream.error is None:
            content += stream.feed(portion)
    if not stream.is_over and stream.error is None:
        content += stream.finish()
    error = None if stream.error is None else stream.error.message
    return Outcome(content, error, stream.is_over, (passed.counter.tokens_in, passed.counter.tokens_out))


def cut(content: bytes, places: list[int]) -> list[bytes]:
    inside = sorted({place % len(content) for place in places} - {0})
    return [content[begin:end] for begin, end in pairwise([0, *inside, len(content)])]


@every_stream
def test_a_stream_byte_by_byte_gives_the_recorded_chunks(recorded: Recording):
    content = recorded.stream()
    got = translate(recorded, [content[place : place + 1] for place in range(len(content))])
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in got.content.split(b"\n\n") if line]
    assert chunks == recorded.chunks
    assert (got.error, got.is_over) == (None, True)


@every_stream
@settings(deadline=None, max_examples=25)
@given(places=CUTS)
def test_any_split_of_a_stream_gives_the_same_events(recorded: Recording, places: list[int]):
    content = recorded.stream()
    assert translate(recorded, cut(content, places)) == translate(recorded, [content])


@pytest.mark.parametrize(
    "recorded", [each for each in WITH_STREAM if each.content_type == Framing.SSE], ids=str
)
@settings(deadline=None, max_examples=10)
@given(places=CUTS)
def test_a_stream_with_other_line_ends_and_comments_gives_the_same_events(
    recorded: Recording, places: list[int]
):
    content = recorded.stream()
    other = b": a comment\r\n\r\n" + content.replace(b"\n", b"\r\n")
    assert translate(recorded, cut(other, places)) == translate(recorded, [content])


@every_stream
@settings(deadline=None, max_examples=25)
@given(length=st.integers(min_value=0, max_value=100_000))
def test_a_stream_that_is_cut_ends_with_an_error_unless_it_was_complete(recorded: Recording, length: int):
    content = recorded.stream()
    whole = translate(recorded, [content])
    got = translate(recorded, [content[: length % len(content)]])
    assert whole.content.startswith(got.content)
    assert got.is_over != (got.error is not None)
    if got.is_over:
        assert b'"finish_reason"' in got.content


def framed(recorded: Recording, name: str, data: Any) -> bytes:
    if recorded.content_type == Framing.AWS:
        return event_stream_frames.event(name, data)
    if recorded.content_type == Framing.LINES:
        return json.dumps(data).encode() + b"\n"
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


@every_stream
@settings(deadline=None, max_examples=40)
@given(which=st.integers(0, 100), at=st.integers(0, 1000), value=ANYTHING)
def test_an_event_of_another_shape_is_an_error_or_is_passed_on(
    recorded: Recording, which: int, at: int, value: Any
):
    events = [(event.name, event.data) for event in recorded.events()]
    name, data = events[which % len(events)]
    events[which % len(events)] = (name, replace_value(data, at, value))
    got = translate(recorded, [b"".join(framed(recorded, name, data) for name, data in events)])
    assert got.is_over != (got.error is not None)


@every_stream
@settings(deadline=None, max_examples=40)
@given(place=st.integers(0, 100_000), junk=st.binary(max_size=8), dropped=st.integers(0, 8))
def test_garbled_bytes_are_an_error_or_are_passed_on(
    recorded: Recording, place: int, junk: bytes, dropped: int
):
    content = recorded.stream()
    at = place % len(content)
    got = translate(recorded, [content[:at] + junk + content[at + dropped :]])
    assert got.is_over != (got.error is not None)
    lines = [line for line in got.content.split(b"\n") if line]
    assert all(isinstance(json.loads(line.removeprefix(b"data: ")), dict) for line in lines)


@every_answer
@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, 1000), value=ANYTHING)
def test_an_answer_of_another_shape_is_an_error_or_is_passed_on(recorded: Recording, at: int, value: Any):
    content = json.dumps(replace_value(recorded.reply, at, value)).encode()
    try:
        answer = translator(recorded).translate(content)
    except GatewayError as error:
        assert error.status in {400, 500, 503}
    else:
        assert isinstance(json.loads(answer), dict)


@every_answer
@settings(deadline=None, max_examples=20)
@given(
    content=st.binary(max_size=30)
    | st.text(max_size=30).map(str.encode)
    | ANYTHING.map(lambda any: json.dumps(any).encode())
)
def test_an_answer_that_is_no_json_object_is_an_error(recorded: Recording, content: bytes):
    if recorded.wire_format.translate_response is None and content[:1] == b"{":
        return  # a body that begins and ends like an object is passed on without parsing it
    with pytest.raises(GatewayError) as refused:
        translator(recorded).translate(content)
    assert refused.value.status in {400, 500, 503}
