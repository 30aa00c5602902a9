"""What a backend tells of a served entity that it deploys. `reconcile` turns it into the endpoint's state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Progress(IntEnum):
    """How far a deployment is; a greater value is worse."""

    READY = 0
    READY_UNVERIFIED = 1
    """Ready, although the credentials could not be checked."""
    DEPLOYING = 2
    """Goes on by itself; looked at again soon."""
    RETRY = 3
    """Failed for a reason that may go away; tried again until the deadline."""
    FAILED = 4


@dataclass(frozen=True)
class Observation:
    """`message` is a sentence for a person: what is awaited, or why it failed and what to do."""

    progress: Progress
    message: str = ""
    retry_after: int = 0
    """Seconds that a provider asks to wait."""
    is_scaled_to_zero: bool = False
