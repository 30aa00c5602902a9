"""However a stream is cut into portions, the same events come out; nothing hostile breaks it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.gateway.sse import EventSplitter, Frame, TooLong

LINES = st.sampled_from(
    [
        b'data: {"a": 1}',
        b"data:x",
        b"data: ",
        b"data",
        b": comment",
        b"event: e",
        b"id: 1",
        b"",
        b"",
        b"data: [DONE]",
        b"junk",
    ]
)


def events(portions: list[bytes]) -> list[Frame]:
    splitter = EventSplitter()
    found = [event for portion in portions for event in splitter.feed(portion)]
    return found + splitter.finish()


@given(
    lines=st.lists(LINES, max_size=12),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_split_gives_the_same_events(lines: list[bytes], ending: bytes, cuts: list[int]):
    whole = b"".join(line + ending for line in lines)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    portions = [whole[start:end] for start, end in pairwise(places)]
    assert events(portions) == events([whole])


@given(portions=st.lists(st.binary(max_size=50), max_size=10))
def test_hostile_bytes_never_break_it(portions: list[bytes]):
    for _, data in events(portions):
        assert data.strip()


def test_a_name_belongs_to_its_own_event_only():
    assert events([b"event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n"]) == [
        (b"a", b"1"),
        (b"", b"2"),
        (b"", b"3"),
    ]


def test_an_event_that_never_ends_is_refused():
    splitter = EventSplitter()
    with pytest.raises(TooLong):
        for _ in range(10):
            splitter.feed(b"x" * 1024 * 1024)
