"""A circuit for each upstream host: who has failed again and again is left alone for a while, then asked by one query first.

Only faults of the host itself count: no connection, no reply in time, no proper reply, 502, 503, 504 and 529, be it as a status or told
within an answer. Any other answer, a refusal too, shows that it is there, and closes the circuit. What is late for an endpoint that
waits for less long than is usual does not count.
"""

from __future__ import annotations

FAULTS = 10
"""So many in a row open it."""
FIRST_SECONDS = 2.0
MOST_SECONDS = 60.0
_PROBE_SECONDS = 5.0


class CircuitBreaker:
    """`now` is a monotonic time in seconds."""

    __slots__ = ("_seconds", "_until", "faults")

    def __init__(self) -> None:
        self.faults = 0
        self._seconds = FIRST_SECONDS
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether queries are refused, but for one now and then."""
        return self.faults >= FAULTS

    def wait(self, now: float) -> float:
        """Seconds until the host may be asked; 0 when it may be asked now. Then the caller must do so."""
        if self.faults < FAULTS:
            return 0.0
        left = self._until - now
        if left > 0:
            return left
        self._until = now + _PROBE_SECONDS  # the others wait for this one, but not for ever
        return 0.0

    def answered(self) -> None:
        """The host is there."""
        if self.faults:
            self.faults = 0
            self._seconds = FIRST_SECONDS

    def failed(self, now: float) -> None:
        """The host is not there, or says so itself."""
        self.faults += 1
        if self.faults >= FAULTS:
            self._until = now + self._seconds
            self._seconds = min(self._seconds * 2, MOST_SECONDS)
