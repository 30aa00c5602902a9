"""Server-sent events: bytes in any portions → whole events. Pure.

By the rules of the standard (html.spec.whatwg.org, 9.2.5 and 9.2.6) with these exceptions. At the end of the stream an event is
taken although the empty line after it is missing: servers of OpenAI's kind leave it out. An event without anything in its data, or
with a comment there (`data: : keepalive`), is left out: it is there to keep the connection alive. Not so when its name tells of a
failure. And two lines that the standard ignores are each an event of their own, because servers tell of failures there: the field
`error` (older llama.cpp), and a bare JSON object (a proxy whose answer was to be no stream).

Comments, ids and retry times are dropped: no client of ours reads them, and the MLflow client refuses a stream that has a line
other than `data: …`. Names are kept for the providers whose events have one.
"""

from __future__ import annotations

from typing import Protocol

from serving_ui.catalogue.provider_errors import is_error_event

Frame = tuple[bytes, bytes]
"""One event as it came: its name, empty when it has none, and its data."""

DONE = b"[DONE]"
_MOST = 8 * 1024 * 1024
_TOO_LONG = "an event is longer than 8 MB"
_OTHER_BREAKS = [(each.encode(), b"\\u%04x" % ord(each)) for each in ("\x85", "\u2028", "\u2029")]
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """An event that never ends."""


class Splitter(Protocol):
    """Cuts one stream into events, whatever its framing. Both raise ValueError when the bytes cannot be understood."""

    def feed(self, portion: bytes) -> list[Frame]:
        """The events that have become whole with this portion."""
        ...

    def finish(self) -> list[Frame]:
        """At the end: what is still to come out of the bytes so far."""
        ...


class EventSplitter:
    """The splitter of server-sent events."""

    __slots__ = ("_data", "_expects", "_name", "_rest")

    def __init__(self) -> None:
        self._expects = _BOM
        """What is left out at the start of the next portion: the byte order mark of a stream, the other half of a line's end."""
        self._rest = b""
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, portion: bytes) -> list[Frame]:
        if self._expects:
            portion = self._without_expected(portion)
        lines = portion.splitlines()  # of bytes: at CR, LF and CRLF
        if self._rest and lines:
            lines[0] = self._rest + lines[0]
            self._rest = b""
        if not portion.endswith(b"\n") and lines:
            if portion.endswith(b"\r"):
                self._expects = b"\n"
            else:
                self._rest = lines.pop()
                if len(self._rest) > _MOST:
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
        if data and sum(map(len, data)) > _MOST:
            raise TooLong(_TOO_LONG)
        return events

    def finish(self) -> list[Frame]:
        events: list[Frame] = []
        self._field(self._rest, events)
        self._dispatch(events)
        self._rest = b""
        return events

    def _without_expected(self, portion: bytes) -> bytes:
        content, self._rest = self._rest + portion, b""
        if len(content) < len(self._expects) and self._expects.startswith(content):
            self._rest = content
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
            events.append((name, _text(value.removeprefix(b" "))))
        elif line.startswith(b"{"):
            events.append((b"", _text(line)))

    def _dispatch(self, events: list[Frame]) -> None:
        parts, name = self._data, self._name
        data = parts[0] if len(parts) == 1 else b"\n".join(parts)
        if data.startswith(b"{") or data.lstrip()[:1] not in {b"", b":"} or tells_failure(name):
            events.append((name and _text(name), data if data.isascii() else _text(data)))
        parts.clear()
        self._name = b""


def tells_failure(name: bytes) -> bool:
    """Whether an event of this name is a failure, whatever its data."""
    return bool(name) and is_error_event(name.decode("latin-1"))


def _text(content: bytes) -> bytes:
    """Proper UTF-8: what is none becomes U+FFFD."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode(errors="replace").encode()
    return content


class LineSplitter:
    """The splitter of streams that have one JSON object in each line, without names."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, portion: bytes) -> list[Frame]:
        lines = (self._rest + portion).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _MOST:
            raise TooLong("a line is longer than 8 MB")
        return [(b"", line) for line in lines if line.strip()]

    def finish(self) -> list[Frame]:
        """The last line may lack its end."""
        rest, self._rest = self._rest, b""
        return [(b"", rest)] if rest.strip() else []


def event(data: bytes, name: bytes = b"") -> bytes:
    """The JSON text as one event. Of the line breaks that JSON may hold unescaped, clients such as MLflow's cut at these as well."""
    if 0xE2 in data or 0xC2 in data:  # their first bytes
        for bare, escaped in _OTHER_BREAKS:
            data = data.replace(bare, escaped)
    named = b"event: " + name + b"\n" if name else b""
    return named + b"data: " + data + b"\n\n"
