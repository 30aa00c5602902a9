"""How long a provider is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds are waited for a connection, for the first byte of the reply, and for the whole of it."""

    connect: float = 5.0
    first_byte: float = 60.0
    total: float = 297.0
