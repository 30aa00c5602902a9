"""Sliding windows of a minute, kept in this process: what was admitted, and when it stops to count.

Exact to the nanosecond as long as a window holds no more than 1,000 entries. What comes beyond that in one minute shares entries
of 60 ms, which stop to count at their end: a window never admits too much, it frees up to 60 ms late, and its size is bounded
whatever the limit. Time is a monotonic number of whole nanoseconds: fractions would round at the edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

SECOND = 1_000_000_000
SPAN = 60 * SECOND
ENTRIES = 1000
WIDTH = SPAN // ENTRIES
_SWEEP_EVERY = 4096

Name = tuple[str, str, str]
"""Endpoint id, whose window, what it counts."""


class Ask(NamedTuple):
    """So much more of a window, of which no more than `most` may be taken in a minute."""

    amount: int
    most: int


@dataclass(frozen=True, slots=True)
class Full:
    """A window that has no room, and in how many nanoseconds it has."""

    name: Name
    wait: int


class Window:
    """One window. An entry is [when it was admitted, how much]; what has left the window has no amount any more."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[list[int]] = deque()
        self.total = 0

    def wait(self, amount: int, most: int, now: int) -> int:
        """Nanoseconds until there is room; 0 when there is."""
        if self.entries and self.entries[0][0] <= now - SPAN:
            self._expire(now)
        over = self.total + amount - most
        if over <= 0:
            return 0
        for at, admitted in self.entries:
            over -= admitted
            if over <= 0:
                return at + SPAN - now
        return SPAN

    def add(self, amount: int, now: int) -> list[int]:
        """Count it, whether there is room or not."""
        entries = self.entries
        if entries and entries[0][0] <= now - SPAN:
            self._expire(now)
        self.total += amount
        at = now if len(entries) < ENTRIES else -(-now // WIDTH) * WIDTH
        if entries and entries[-1][0] >= at:
            entries[-1][1] += amount
        else:
            entries.append([at, amount])
        return entries[-1]

    def is_forgotten(self, now: int) -> bool:
        """Whether nothing in it counts any more, so that whoever comes next may find a new one."""
        self._expire(now)  # tells the entries as well: what is settled late must give back nothing
        return not self.entries

    def _expire(self, now: int) -> None:
        entries = self.entries
        while entries and entries[0][0] <= now - SPAN:
            gone = entries.popleft()
            self.total -= gone[1]
            gone[1] = 0

    def settle(self, entry: list[int], *, reserved: int, used: int, now: int) -> None:
        """Give back what was reserved in vain, if it still counts; what was used beyond that counts from now on."""
        if used > reserved:
            self.add(used - reserved, now)
        elif entry[1]:
            entry[1] -= reserved - used
            self.total -= reserved - used


class Windows:
    """All windows of this process. They belong to endpoint ids, so they outlive a snapshot."""

    def __init__(self) -> None:
        self._windows: dict[Name, Window] = {}
        self._admitted = 0

    def take(self, asks: Mapping[Name, Ask], now: int) -> Full | list[tuple[Name, list[int]]]:
        """Count it in all windows, or in none and say which is full for longest."""
        worst: Full | None = None
        windows = self._windows
        for name, (amount, most) in asks.items():
            wait = (windows.get(name) or self._of(name)).wait(amount, most, now)
            if wait and (worst is None or wait > worst.wait):
                worst = Full(name, wait)
        return worst or self.count(asks, now)

    def count(self, asks: Mapping[Name, Ask], now: int) -> list[tuple[Name, list[int]]]:
        """Count it, whether there is room or not."""
        taken, windows = [], self._windows
        for name, (amount, _most) in asks.items():
            taken.append((name, (windows.get(name) or self._of(name)).add(amount, now)))
        self._admitted += 1
        if self._admitted % _SWEEP_EVERY == 0:
            self._sweep(now)
        return taken

    def give_back(self, name: Name, entry: list[int], amount: int) -> None:
        """The call was not admitted after all."""
        self._of(name).settle(entry, reserved=amount, used=0, now=entry[0])

    def settle(self, taken: Iterable[tuple[Name, list[int]]], *, reserved: int, used: int, now: int) -> None:
        for name, entry in taken:
            self._of(name).settle(entry, reserved=reserved, used=used, now=now)

    def _of(self, name: Name) -> Window:
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = Window()
        return window

    def _sweep(self, now: int) -> None:
        """Forget those who have not called for a minute, so that memory follows the callers of now."""
        for name, window in list(self._windows.items()):
            if window.is_forgotten(now):
                del self._windows[name]
