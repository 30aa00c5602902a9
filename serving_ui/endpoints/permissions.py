"""Permission levels on an endpoint, as in Databricks. Nobody has CAN_MANAGE on a built-in endpoint."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """What a person may do; a higher one includes the lower."""

    NONE = 0
    CAN_VIEW = 1
    CAN_QUERY = 2
    CAN_MANAGE = 3


class Action(IntEnum):
    """An operation on an endpoint. Its number is the level that it requires."""

    VIEW = Level.CAN_VIEW
    QUERY = Level.CAN_QUERY
    MANAGE = Level.CAN_MANAGE


def allows(level: Level, action: Action) -> bool:
    """Whether a person with `level` may do `action`."""
    return int(level) >= int(action)
