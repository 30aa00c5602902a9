"""The protocol of backends, and what they tell of a served entity. `endpoints/reconcile.py` turns it into the endpoint's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from serving_ui.catalogue.served_entity import ServedEntity


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


class Backend(Protocol):
    """Makes the served entities of a config real."""

    def deploy(self, entities: Sequence[ServedEntity]) -> dict[str, Observation]:
        """One step of their deployment, by name of the entity; repeating it does no harm. Secrets are plaintext. Raises Aborted."""
        ...
