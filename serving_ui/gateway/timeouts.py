"""The deadlines of one query at its provider."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection is made, until the first byte of the reply, and until the end of the reply."""

    connect: float = 5.0
    first_byte: float = 60.0
    total: float = 297.0
