"""Texts without the values of environment variables. Used by this server and by the replicas, so it needs the standard library only."""

from __future__ import annotations

from collections.abc import Iterable

from serving_ui.gateway.redaction import redact

MIN_LENGTH = 6
"""A shorter value, such as "true", stays."""


def without_values(text: str, values: Iterable[str]) -> str:
    """The text with `[secret]` in place of each value, and of each line of a value: logs have a prefix before every line."""
    parts = [part.strip() for value in values for part in (value, *value.splitlines())]
    return redact(text, [part for part in parts if len(part) >= MIN_LENGTH])
