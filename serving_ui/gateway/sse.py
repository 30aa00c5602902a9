"""Splits server-sent events, arriving in portions of any size, into complete events; and formats events. Pure.

By the standard (html.spec.whatwg.org, 9.2.5 and 9.2.6), except:
- At the end of the stream an event counts although the empty line after it is missing: OpenAI-compatible servers leave it out.
- An event whose data is empty or a comment (`data: : keepalive`) is dropped, as a keep-alive, unless its name reports a failure.
- Two kinds of lines that the standard ignores are events, because servers report failures in them: the field `error` (older
  llama.cpp), and a bare JSON object (a proxy that answers without a stream).
- Comments, ids and retry times are dropped: no client reads them, and MLflow's refuses a stream with lines other than `data: …`.
"""

from __future__ import annotations

from typing import Protocol

from serving_ui.catalogue.provider_errors import is_error_event

Frame = tuple[bytes, bytes]
"""(name, data) of one event; the name is empty without the field `event`."""

DONE = b"[DONE]"
_MAX_EVENT_BYTES = 8 * 1024 * 1024
_TOO_LONG = "an event is longer than 8 MB"
_UNICODE_LINE_BREAKS = [(each.encode(), b"\\u%04x" % ord(each)) for each in ("\x85", "\u2028", "\u2029")]
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """An event is larger than the gateway buffers."""


class Splitter(Protocol):
    """Splits one stream into events, whatever its framing. Both methods raise ValueError for malformed bytes."""

    def feed(self, portion: bytes) -> list[Frame]:
        """The events that this portion completes."""
        ...

    def finish(self) -> list[Frame]:
        """The events that the end of the stream completes."""
        ...


class EventSplitter:
    """Splits server-sent events."""

    __slots__ = ("_data", "_expects", "_name", "_partial_line")

    def __init__(self) -> None:
        self._expects = _BOM
        """Bytes to skip at the start of the next portion: a stream's byte order mark, or the LF after a CR."""
        self._partial_line = b""
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, portion: bytes) -> list[Frame]:
        if self._expects:
            portion = self._without_expected(portion)
        lines = portion.splitlines()  # of bytes: at CR, LF and CRLF
        if self._partial_line and lines:
            lines[0] = self._partial_line + lines[0]
            self._partial_line = b""
        if not portion.endswith(b"\n") and lines:
            if portion.endswith(b"\r"):
                self._expects = b"\n"
            else:
                self._partial_line = lines.pop()
                if len(self._partial_line) > _MAX_EVENT_BYTES:
                    raise TooLong(_TOO_LONG)
        data = self._data
        events: list[Frame] = []
        for line in lines:
            if line.startswith(b"data: "):
                data.append(line[6:])
            elif line:
                self._field(line, events)
            elif data or self._name:
                self._dispatch(events)
        if data and sum(map(len, data)) > _MAX_EVENT_BYTES:
            raise TooLong(_TOO_LONG)
        return events

    def finish(self) -> list[Frame]:
        events: list[Frame] = []
        self._field(self._partial_line, events)
        self._dispatch(events)
        self._partial_line = b""
        return events

    def _without_expected(self, portion: bytes) -> bytes:
        content, self._partial_line = self._partial_line + portion, b""
        if len(content) < len(self._expects) and self._expects.startswith(content):
            self._partial_line = content
            return b""
        expected, self._expects = self._expects, b""
        return content.removeprefix(expected)

    def _field(self, line: bytes, events: list[Frame]) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ")
        elif name == b"error":
            events.append((name, _valid_utf8(value.removeprefix(b" "))))
        elif line.startswith(b"{"):
            events.append((b"", _valid_utf8(line)))

    def _dispatch(self, events: list[Frame]) -> None:
        parts, name = self._data, self._name
        data = parts[0] if len(parts) == 1 else b"\n".join(parts)
        if data.startswith(b"{") or data.lstrip()[:1] not in {b"", b":"} or is_failure_name(name):
            events.append((name and _valid_utf8(name), data if data.isascii() else _valid_utf8(data)))
        parts.clear()
        self._name = b""


def is_failure_name(name: bytes) -> bool:
    """Whether an event of this name reports a failure, whatever its data."""
    return bool(name) and is_error_event(name.decode("latin-1"))


def _valid_utf8(content: bytes) -> bytes:
    """The content with invalid UTF-8 replaced by U+FFFD."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode(errors="replace").encode()
    return content


class LineSplitter:
    """Splits streams that have one JSON object in each line."""

    __slots__ = ("_partial_line",)

    def __init__(self) -> None:
        self._partial_line = b""

    def feed(self, portion: bytes) -> list[Frame]:
        lines = (self._partial_line + portion).split(b"\n")
        self._partial_line = lines.pop()
        if len(self._partial_line) > _MAX_EVENT_BYTES:
            raise TooLong("a line is longer than 8 MB")
        return [(b"", line) for line in lines if line.strip()]

    def finish(self) -> list[Frame]:
        """The last line may lack its line break."""
        rest, self._partial_line = self._partial_line, b""
        return [(b"", rest)] if rest.strip() else []


def event(data: bytes, name: bytes = b"") -> bytes:
    """A JSON text as one event. Escapes U+0085, U+2028 and U+2029: clients such as MLflow's take them for line breaks."""
    if 0xE2 in data or 0xC2 in data:  # the first bytes of these characters
        for bare, escaped in _UNICODE_LINE_BREAKS:
            data = data.replace(bare, escaped)
    named = b"event: " + name + b"\n" if name else b""
    return named + b"data: " + data + b"\n\n"
