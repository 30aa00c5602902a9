"""Rate limits: calls per minute of an endpoint and of a user, as an exact sliding window in this process.

In any 60 seconds no more than the limit is admitted. A call is counted once and only when every limit admits it. The
counts belong to endpoint ids, so they outlive a snapshot. A later store shared by processes has the same face, `admit`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 60
_SECOND = 1_000_000_000
_SPAN = WINDOW * _SECOND
_SWEEP_EVERY = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit refused, and in how many nanoseconds one more call will be admitted."""

    key: str
    calls: int
    wait: int

    @property
    def retry_after(self) -> int:
        return max(1, -(-self.wait // _SECOND))

    @property
    def sentence(self) -> str:
        whose = "of this endpoint" if self.key == "endpoint" else "for each user of this endpoint"
        if self.calls == 0:
            return f"The limit {whose} is 0 calls per minute, so it takes no calls. Ask the person who manages it."
        noun = "call" if self.calls == 1 else "calls"
        return (
            f"The limit {whose} is {self.calls} {noun} per minute and has been reached. "
            f"Try again in {self.retry_after} s."
        )


class Limits:
    """The windows of this process. `now` is a monotonic time in whole nanoseconds: fractions would round at the edge."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], deque[int]] = {}
        self._admitted = 0

    def admit(
        self, *, endpoint_id: str, user_id: str, rules: tuple[tuple[str, int], ...], now: int
    ) -> Refusal | None:
        """Count one call, or say which limit refuses it. There is no await in here, so nothing comes between."""
        touched: dict[str, deque[int]] = {}
        worst: Refusal | None = None
        for key, calls in rules:
            window = touched.get(key)
            if window is None:
                window = touched[key] = self._window(endpoint_id, key, user_id, now)
            if len(window) >= calls:
                wait = _SPAN if calls == 0 else window[len(window) - calls] + _SPAN - now
                if worst is None or wait > worst.wait:
                    worst = Refusal(key, calls, wait)
        if worst is not None:
            return worst
        for window in touched.values():
            window.append(now)
        self._sweep(now)
        return None

    def _window(self, endpoint_id: str, key: str, user_id: str, now: int) -> deque[int]:
        name = (endpoint_id, key, user_id if key == "user" else "")
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = deque()
        while window and window[0] <= now - _SPAN:
            window.popleft()
        return window

    def _sweep(self, now: int) -> None:
        """Forget those who have not called for a minute, so that memory follows the callers of now."""
        self._admitted += 1
        if self._admitted % _SWEEP_EVERY:
            return
        for name in [
            name for name, window in self._windows.items() if not window or window[-1] <= now - _SPAN
        ]:
            del self._windows[name]
