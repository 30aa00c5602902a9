"""Checks that the rules of several vendors share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

Json = dict[str, Any]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Names of tools and ids of tool calls."""
IMAGE_TYPES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class Rejected(Exception):
    """The vendor rejects the request. The message is the vendor's."""


def require(holds: object, words: str) -> None:
    if not holds:
        raise Rejected(words)


def require_alternating_roles(roles: list[str], *, first: str, other: str) -> None:
    require(roles, "messages: at least one message is required")
    require(roles[0] == first, f'first message must use the "{first}" role')
    require(set(roles) <= {first, other}, "invalid role")
    require(all(one != two for one, two in pairwise(roles)), "roles must alternate")


def require_unique(ids: Iterable[str], words: str) -> None:
    listed = list(ids)
    require(len(listed) == len(set(listed)), words)


def require_no_blank_stops(stops: Iterable[str]) -> None:
    require(
        all(stop.strip() for stop in stops), "stop_sequences: each stop sequence must contain non-whitespace"
    )


def require_no_trailing_space(role: str, text: str) -> None:
    require(
        role != "assistant" or text == text.rstrip(),
        "messages: final assistant content cannot end with trailing whitespace",
    )
