"""Conflicts of endpoints that callers tell apart. All others are the classes of `lib.refusal`.

The sentences are where these are raised: `commands` and `transitions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving_ui.lib.refusal import Conflict


class UpdateInProgress(Conflict):
    """An update of the config runs, so no other one is accepted."""


class UpdateNotRunning(Conflict):
    """There is no update to cancel."""


class NothingToStop(Conflict):
    """The endpoint cannot be stopped, or is not stopped."""


class ConcurrentChange(Conflict):
    """Another change was committed between read and write; `transitions.retry_on_concurrent_change` runs the command again."""


class StaleEdit(Conflict):
    """Someone else changed the endpoint after the form was opened; `changes` are their events, oldest first."""

    def __init__(self, sentence: str, *, changes: Sequence[Any]) -> None:
        super().__init__(sentence)
        self.changes = list(changes)
