"""A circuit breaker for each upstream host: after repeated failures it gets no queries for a while, then one as a probe.

Failures are those of the host itself: no connection, no reply in time, no valid reply, and 502, 503, 504 and 529, as the status or
reported within an answer. Any other reply, an error too, shows that the host works, and closes the circuit. A timeout of an
endpoint whose timeouts are shorter than the default does not count.
"""

from __future__ import annotations

MAX_FAILURES = 10
"""Consecutive failures that open the circuit."""
FIRST_OPEN_SECONDS = 2.0
MAX_OPEN_SECONDS = 60.0
_PROBE_SECONDS = 5.0


class CircuitBreaker:
    """Closed until MAX_FAILURES, then open for 2, 4, 8 … 60 s between probes. `now` is a monotonic time in seconds."""

    __slots__ = ("_seconds", "_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._seconds = FIRST_OPEN_SECONDS
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether queries are refused, except for one probe at a time."""
        return self.failures >= MAX_FAILURES

    def seconds_until_allowed(self, now: float) -> float:
        """Seconds until the host may get a query; 0: now. With 0 the caller must send one, since it may be the probe."""
        if self.failures < MAX_FAILURES:
            return 0.0
        left = self._until - now
        if left > 0:
            return left
        self._until = now + _PROBE_SECONDS  # other queries wait for the result of the probe, at most so long
        return 0.0

    def record_success(self) -> None:
        """The host has replied."""
        if self.failures:
            self.failures = 0
            self._seconds = FIRST_OPEN_SECONDS

    def record_failure(self, now: float) -> None:
        """The host has not replied, or has reported that it is unavailable."""
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            self._until = now + self._seconds
            self._seconds = min(self._seconds * 2, MAX_OPEN_SECONDS)
