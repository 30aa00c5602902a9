"""Cohere behind a running gateway: the messages of its errors are quoted, and incomplete answers end with an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.conftest import GatewayServer
from tests.gateway.wire.test_recordings import add_endpoint
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Vendor

NAMED = {each.path.stem: each for each in RECORDINGS if each.provider.name == "cohere"}
GENERATED = "stream-completion-by-generate"


def failing(recorded: Recording, **last: Any) -> Answer:
    """The recorded stream with another last event."""
    events = [event.data for event in recorded.events()]
    events[-1] = last
    lines = [json.dumps(each) for each in events]
    sent = "\n".join(lines) if recorded.content_type.endswith("json") else "data: " + "\n\ndata: ".join(lines)
    return Answer.stream(f"{sent}\n\n".encode(), kind=recorded.content_type)


FAILURES: list[tuple[str, dict[str, Any], str]] = [
    (
        "stream-hello",
        {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "No GPU."}},
        "No GPU.",
    ),
    ("stream-hello", {"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}}, "it ran out of time"),
    (
        "stream-completion",
        {"type": "message-end", "delta": {"finish_reason": "ERROR"}},
        "it failed while generating",
    ),
    (
        GENERATED,
        {"event_type": "stream-error", "is_finished": True, "finish_reason": "ERROR", "err": "No GPU."},
        "No GPU.",
    ),
]


@pytest.mark.parametrize(("name", "last", "words"), FAILURES)
def test_a_failed_stream_ends_with_an_error(
    gateway: GatewayServer, vendor: Vendor, name: str, last: dict[str, Any], words: str
):
    recorded = NAMED[name]
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(failing(recorded, **last))
    answer = gateway.query("vendor", recorded.openai_request)
    *_, error = [line for line in answer.text.split("\n") if line]
    assert words in json.loads(error.removeprefix("data: "))["error"]["message"]
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("name", ["stream-hello", GENERATED])
def test_a_stream_without_its_last_event_ends_with_an_error(
    gateway: GatewayServer, vendor: Vendor, name: str
):
    recorded = NAMED[name]
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(failing(recorded, type="debug"))
    answer = gateway.query("vendor", recorded.openai_request)
    assert "before the answer was complete" in answer.text
    assert "[DONE]" not in answer.text
    assert gateway.usage.last.completeness == "truncated"


@pytest.mark.parametrize("name", ["hello", "completion"])
def test_a_failed_answer_is_an_error(gateway: GatewayServer, vendor: Vendor, name: str):
    recorded = NAMED[name]
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(Answer.json({**recorded.reply, "finish_reason": "ERROR"}))
    answer = gateway.query("vendor", recorded.openai_request)
    assert answer.status_code == 500
    assert "it failed while generating (ERROR)" in answer.json()["message"]


def test_the_message_of_a_refusal_is_quoted(gateway: GatewayServer, vendor: Vendor):
    recorded = NAMED["hello"]
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(Answer.json({"id": "1", "message": "too many tokens for key-1"}, status=400))
    answer = gateway.query("vendor", recorded.openai_request)
    assert answer.status_code == 400
    assert "too many tokens for [secret]" in answer.json()["message"]


def test_embeddings_are_not_streamed(gateway: GatewayServer, vendor: Vendor):
    recorded = NAMED["embeddings"]
    add_endpoint(gateway, vendor, recorded)
    answer = gateway.query("vendor", {**recorded.openai_request, "stream": True})
    assert (answer.status_code, vendor.requests) == (400, [])
