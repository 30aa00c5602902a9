"""The rights on a secret scope, as in Databricks. Each includes the lower ones."""

from __future__ import annotations

from enum import IntEnum


class Right(IntEnum):
    """What a principal may do with a scope."""

    READ = 1
    """See its keys, read them, and refer to them in endpoints."""
    WRITE = 2
    """Put and delete keys."""
    MANAGE = 3
    """Grant rights to others, and delete the scope."""
