"""Sliding windows of one minute, in the memory of this process: what was admitted, and when each admission expires.

A window holds at most 1,000 entries. Up to that it is exact to the nanosecond; beyond it admissions share entries of 60 ms that
expire at the end of these 60 ms, so a window never admits too much and has a bounded size, but frees its room up to 60 ms late. Times are
monotonic and in whole nanoseconds, because floats would round at the edge of the window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

SECOND_NS = 1_000_000_000
WINDOW_NS = 60 * SECOND_NS
MAX_ENTRIES = 1000
BUCKET_NS = WINDOW_NS // MAX_ENTRIES
_SWEEP_EVERY_CALLS = 4096

WindowKey = tuple[str, str, str]
"""(endpoint id, owner: "" for the endpoint, `p:` or `g:` and the id of a principal or group, unit: calls or tokens)."""


class Demand(NamedTuple):
    """`amount`: calls or tokens to count in a window. `per_minute`: the window's limit."""

    amount: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class WindowFull:
    """The window `key` has no room for the demand until `wait_ns` nanoseconds from now."""

    key: WindowKey
    wait_ns: int


class Window:
    """One window. An entry is the list [when it was admitted, amount]; expired entries get the amount 0."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[list[int]] = deque()
        self.total = 0

    def wait_ns(self, amount: int, per_minute: int, now: int) -> int:
        """Nanoseconds until there is room for `amount`; 0 when there is room now."""
        if self.entries and self.entries[0][0] <= now - WINDOW_NS:
            self._expire(now)
        over = self.total + amount - per_minute
        if over <= 0:
            return 0
        for at, admitted in self.entries:
            over -= admitted
            if over <= 0:
                return at + WINDOW_NS - now
        return WINDOW_NS

    def add(self, amount: int, now: int) -> list[int]:
        """Count `amount` without checking for room. Returns the entry that holds it."""
        entries = self.entries
        if entries and entries[0][0] <= now - WINDOW_NS:
            self._expire(now)
        self.total += amount
        at = now if len(entries) < MAX_ENTRIES else -(-now // BUCKET_NS) * BUCKET_NS
        if entries and entries[-1][0] >= at:
            entries[-1][1] += amount
        else:
            entries.append([at, amount])
        return entries[-1]

    def settle(self, entry: list[int], *, reserved: int, used: int, now: int) -> None:
        """Replace a reservation by what was used: the excess counts from now, the rest is given back unless expired."""
        if used > reserved:
            self.add(used - reserved, now)
        elif entry[1]:
            entry[1] -= reserved - used
            self.total -= reserved - used

    def is_empty(self, now: int) -> bool:
        """Whether every entry has expired. Expires them here, because a later `settle` must find their amounts at 0."""
        self._expire(now)
        return not self.entries

    def _expire(self, now: int) -> None:
        entries = self.entries
        while entries and entries[0][0] <= now - WINDOW_NS:
            expired = entries.popleft()
            self.total -= expired[1]
            expired[1] = 0


class Windows:
    """All windows of this process, by endpoint id, so that they outlive a snapshot."""

    def __init__(self) -> None:
        self._windows: dict[WindowKey, Window] = {}
        self._calls = 0

    def admit(
        self, demands: Mapping[WindowKey, Demand], now: int
    ) -> WindowFull | list[tuple[WindowKey, list[int]]]:
        """Count a call in all windows if all have room; else in none, and return the one with the longest wait."""
        fullest: WindowFull | None = None
        windows = self._windows
        for key, (amount, per_minute) in demands.items():
            wait = (windows.get(key) or self._window(key)).wait_ns(amount, per_minute, now)
            if wait and (fullest is None or wait > fullest.wait_ns):
                fullest = WindowFull(key, wait)
        return fullest or self.count(demands, now)

    def count(self, demands: Mapping[WindowKey, Demand], now: int) -> list[tuple[WindowKey, list[int]]]:
        """Count a call in all windows without checking for room. Returns its entries."""
        counted, windows = [], self._windows
        for key, (amount, _per_minute) in demands.items():
            counted.append((key, (windows.get(key) or self._window(key)).add(amount, now)))
        self._calls += 1
        if self._calls % _SWEEP_EVERY_CALLS == 0:
            self._sweep(now)
        return counted

    def cancel(self, key: WindowKey, entry: list[int], amount: int) -> None:
        """Take back an admission."""
        self._window(key).settle(entry, reserved=amount, used=0, now=entry[0])

    def settle(
        self, entries: Iterable[tuple[WindowKey, list[int]]], *, reserved: int, used: int, now: int
    ) -> None:
        for key, entry in entries:
            self._window(key).settle(entry, reserved=reserved, used=used, now=now)

    def _window(self, key: WindowKey) -> Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window()
        return window

    def _sweep(self, now: int) -> None:
        """Drop empty windows, so that memory follows the callers of the last minute."""
        for key, window in list(self._windows.items()):
            if window.is_empty(now):
                del self._windows[key]
