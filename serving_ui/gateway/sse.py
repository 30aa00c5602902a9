"""Server-sent events: bytes in any portions → whole events. Pure.

Comments, ids and retry times are dropped: no client of ours reads them, and the MLflow client refuses a stream that has a line
other than `data: …`. Names are kept for the providers whose events have one.
"""

from __future__ import annotations

from typing import Protocol

Frame = tuple[bytes, bytes]
"""One event as it came: its name, empty when it has none, and its data."""

DONE = b"[DONE]"
_MOST = 8 * 1024 * 1024


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

    __slots__ = ("_data", "_name", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, portion: bytes) -> list[Frame]:
        lines = (self._rest + portion).split(b"\n") if self._rest else portion.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + sum(map(len, self._data)) > _MOST:
            raise TooLong("an event is longer than 8 MB")
        events: list[Frame] = []
        for line in lines:
            self._line(line, events)
        return events

    def finish(self) -> list[Frame]:
        """Some servers leave out the empty line after the last event."""
        events: list[Frame] = []
        self._line(self._rest, events)
        self._line(b"", events)
        self._rest = b""
        return events

    def _line(self, line: bytes, events: list[Frame]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line:
            if self._data:
                data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data = []
                if data.strip():
                    events.append((self._name, data))
            self._name = b""
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()


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
    named = b"event: " + name + b"\n" if name else b""
    return named + b"data: " + data + b"\n\n"
