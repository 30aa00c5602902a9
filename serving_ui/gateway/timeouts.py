"""The deadlines of one query at its provider."""

from __future__ import annotations

from dataclasses import dataclass

from serving_ui.catalogue.endpoint_settings import CONNECT_SECONDS, FIRST_BYTE_SECONDS, TOTAL_SECONDS


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection is made, until the first byte of the reply, and until the end of the reply."""

    connect: float = CONNECT_SECONDS
    first_byte: float = FIRST_BYTE_SECONDS
    total: float = TOTAL_SECONDS
