"""A reply as the query page shows it: the text of a stream, or indented JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from serving_ui.lib import json_text
from serving_ui.lib.json_text import JsonInvalid
from serving_ui.pages.relay import WholeReply


@dataclass(frozen=True)
class ShownReply:
    """A reply as the query page shows it."""

    is_good: bool
    status: str
    seconds: str
    text: str
    raw: str


def present_reply(reply: WholeReply) -> ShownReply:
    """The text for people, and for a stream also the raw events."""
    streams = reply.content_type == "text/event-stream"
    text = "".join(_deltas(reply.text)) if streams else _indented(reply.text)
    raw = reply.text if streams else ""
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else ""
    return ShownReply(
        reply.status < 400, f"{reply.status} {phrase}".strip(), _duration(reply.seconds), text, raw
    )


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _indented(text: str) -> str:
    try:
        return json.dumps(json_text.read(text.encode()), indent=2, ensure_ascii=False)
    except JsonInvalid:
        return text


def _deltas(stream: str) -> Iterator[str]:
    for line in stream.splitlines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            yield from _event_contents(line[5:])


def _event_contents(data: str) -> Iterator[str]:
    try:
        event: Any = json_text.read(data.encode())
    except JsonInvalid:
        return
    if not isinstance(event, dict):
        return
    if "choices" not in event:  # an error event
        yield json.dumps(event, indent=2, ensure_ascii=False)
        return
    choices = event["choices"]
    for content in map(_content, choices if isinstance(choices, list) else ()):
        if isinstance(content, str):
            yield content


def _content(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return None
    delta = choice.get("delta")
    return choice.get("text") or (delta.get("content") if isinstance(delta, dict) else None)
