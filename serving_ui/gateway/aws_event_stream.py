"""Splits AWS's binary event streams (`application/vnd.amazon.eventstream`) into events, with botocore's decoder. Pure.

Imported when the first such stream arrives: botocore takes megabytes, and 6 us an event.
Source, November 2026: docs.aws.amazon.com, "Amazon Transcribe: event stream encoding" (the same for all services).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError
from pydantic_core import to_json

from serving_ui.gateway.sse import Frame, TooLong

_MAX_FRAME_BYTES = 8 * 1024 * 1024
_PRELUDE_BYTES = 12


class FrameSplitter:
    """The `sse.Splitter` of AWS's event streams."""

    __slots__ = ("_error", "_needed", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = _PRELUDE_BYTES
        self._error: ValueError | None = None

    def feed(self, portion: bytes) -> list[Frame]:
        """Raises ValueError for bytes that are no frame, after the events before them have been returned."""
        self._parts.append(portion)
        self._size += len(portion)
        if self._size < self._needed and self._error is None:
            return []
        content, begin = b"".join(self._parts), 0
        events: list[Frame] = []
        try:
            while (end := begin + _frame_length(content, begin)) <= len(content):
                events.append(_decode(content[begin:end]))
                begin = end
            self._needed = end - begin
        except ValueError as problem:
            self._error = problem
            if not events:
                raise
        self._parts, self._size = [content[begin:]], len(content) - begin
        return events

    def finish(self) -> list[Frame]:
        """An incomplete frame at the end is dropped."""
        if self._error is not None:
            raise self._error
        return []


def _frame_length(content: bytes, begin: int) -> int:
    """Bytes of the frame at `begin`, or of its prelude while that is incomplete."""
    if len(content) - begin < _PRELUDE_BYTES:
        return _PRELUDE_BYTES
    (length,) = struct.unpack_from(">I", content, begin)
    if length > _MAX_FRAME_BYTES:
        raise TooLong("an event is longer than 8 MB")
    if length < _PRELUDE_BYTES + 4:
        raise ValueError("the length of a frame is too small")
    return int(length)


def _decode(frame: bytes) -> Frame:
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        message = buffer.next()
    except (ParserError, StopIteration, LookupError, struct.error, UnicodeDecodeError) as problem:
        raise ValueError("a frame is damaged") from problem
    return _name_and_data(message.headers, message.payload)


def _name_and_data(headers: Mapping[str, Any], payload: bytes) -> Frame:
    """An exception's type is its name; an error has no payload and is described by its headers."""
    kind = headers.get(":message-type")
    if kind == "error":
        code, message = headers.get(":error-code"), headers.get(":error-message")
        return b"error", to_json({"message": str(message or code), "code": str(code)})
    if kind == "exception":
        return str(headers.get(":exception-type", "Exception")).encode(), payload or b"{}"
    return str(headers.get(":event-type", "")).encode(), payload or b"{}"
