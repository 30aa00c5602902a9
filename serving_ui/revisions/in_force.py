"""Runs the change of a request in one transaction and waits until the live gateway processes serve it.

An error before the commit rolls everything back. An error after the commit becomes a warning in the answer: a client that gets an
error sends its request again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils.translation import gettext as _

from serving_ui.revisions.changes import track_revisions
from serving_ui.revisions.gateways import wait_for_gateways

log = logging.getLogger(__name__)
T = TypeVar("T")


class OutcomeUnknown(OperationalError):
    """The connection was lost during the commit: either everything was committed or nothing."""


@dataclass(frozen=True)
class Committed(Generic[T]):
    """The result of the change, and a sentence for each gateway process that does not serve it yet."""

    result: T
    warnings: list[str] = field(default_factory=list)
    waited_seconds: float | None = None
    """None if the change raised no revision."""


def commit_and_wait(change: Callable[[], T]) -> Committed[T]:
    """Runs `change` in a transaction of its own, then waits for gateways. Raises what `change` raises, and OutcomeUnknown."""
    with track_revisions() as revisions:
        result = _commit(change)
    if not revisions:
        return Committed(result)
    began = perf_counter()
    warnings = _wait(revisions[-1])
    return Committed(result, warnings, perf_counter() - began)


def _commit(change: Callable[[], T]) -> T:
    is_finished = is_committed = False

    def on_commit() -> None:
        nonlocal is_committed
        is_committed = True

    try:
        with transaction.atomic():
            transaction.on_commit(on_commit)
            result = change()
            is_finished = True
    except Exception as error:
        if is_committed:
            log.exception("A change was committed, but a callback after the commit failed.")
            return result
        if is_finished and isinstance(error, OperationalError | InterfaceError):
            raise OutcomeUnknown(*error.args) from error
        raise
    return result


def _wait(revision: int) -> list[str]:
    """A sentence for each gateway process that does not serve `revision` yet."""
    try:
        names = wait_for_gateways(revision=revision)
    except (DatabaseError, InterfaceError) as error:
        log.warning("The database became unreachable while a change waited for gateways: %s", error)
        return [
            _(
                "The change was saved, but then the database became unreachable. Gateway processes may not serve the change yet."
            )
        ]
    sentence = _("The gateway process %(name)s does not serve this change yet.")
    return [sentence % {"name": name} for name in names]
