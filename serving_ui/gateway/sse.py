"""Server-sent events: bytes in any portions → the data of whole events. Pure.

Only `data` matters on the OpenAI wire. Comments, event names and ids are dropped, because the MLflow client refuses a stream
that has a line other than `data: …`.
"""

from __future__ import annotations

DONE = b"[DONE]"
_MOST = 8 * 1024 * 1024


class TooLong(ValueError):
    """An event that never ends."""


class EventSplitter:
    """Feed it what arrives; it gives back the data of each event that has become whole."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, portion: bytes) -> list[bytes]:
        lines = (self._rest + portion).split(b"\n") if self._rest else portion.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + sum(map(len, self._data)) > _MOST:
            raise TooLong("an event is longer than 8 MB")
        events: list[bytes] = []
        for line in lines:
            self._line(line, events)
        return events

    def finish(self) -> list[bytes]:
        """At the end: some servers leave out the empty line after the last event."""
        events: list[bytes] = []
        self._line(self._rest, events)
        self._line(b"", events)
        self._rest = b""
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line and self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            self._data = []
            if data.strip():
                events.append(data)


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
