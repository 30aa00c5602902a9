"""The query page shows any reply of a provider, as far as it can be parsed, without a server error."""

from __future__ import annotations

import json

import pytest

from serving_ui.pages.presenters.query_reply import present_reply
from serving_ui.pages.relay import WholeReply

DEEP = "[" * 100_000
HELLO_EVENT = 'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n'


def text(content: str, *, streams: bool) -> str:
    kind = "text/event-stream" if streams else "application/json"
    return present_reply(WholeReply(200, kind, content, 0.1)).text


def test_a_json_reply_is_indented():
    assert text('{"a":"é"}', streams=False) == json.dumps({"a": "é"}, indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    "content", [DEEP, "<html>", "", '{"a": 1e400}', "\ufffd\0", '{"a":' * 300 + "1" + "}" * 300]
)
def test_a_reply_that_cannot_be_parsed_is_shown_unchanged(content: str):
    assert text(content, streams=False) == content


@pytest.mark.parametrize(
    "data",
    [DEEP, "[]", "1", '{"choices": 1}', '{"choices": null}', '{"choices": [1, null, [], {"delta": []}, {"text": 1}]}',
     '{"choices": [{"delta": {"content": ["a"]}}]}', "{", "[DONE]"],
)  # fmt: skip
def test_invalid_events_of_a_stream_are_left_out_of_its_text(data: str):
    assert text(f"{HELLO_EVENT}data: {data}\n\n{HELLO_EVENT}", streams=True) == "HelloHello"


def test_an_error_within_a_stream_is_shown():
    assert "busy" in text(HELLO_EVENT + 'data: {"error": {"message": "busy"}}\n\n', streams=True)
