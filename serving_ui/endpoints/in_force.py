"""Carries out what a request changes: in one transaction, and answered once gateways serve it.

Whatever fails before the commit undoes everything; whatever fails after it is told in the answer and makes no failure of it,
because a caller who is told of a failure sends the request again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils.translation import gettext as _

from serving_ui.endpoints import publication

log = logging.getLogger(__name__)
T = TypeVar("T")


class OutcomeUnknown(OperationalError):
    """The connection was lost during the commit: everything was done, or nothing."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """What `carry_out` was given, with a sentence for each gateway process that does not serve the change yet."""

    answer: T
    late: list[str] = field(default_factory=list)
    waited: float | None = None
    """Seconds; None when there was nothing for gateways to follow."""


def carry_out(work: Callable[[], T]) -> Done[T]:
    """Runs `work` in a transaction of its own, then waits for gateways. Raises what `work` raises, and OutcomeUnknown."""
    with publication.noting() as revisions:
        answer = _committed(work)
    if not revisions:
        return Done(answer)
    began = perf_counter()
    late = _late(revisions[-1])
    return Done(answer, late, perf_counter() - began)


def _committed(work: Callable[[], T]) -> T:
    is_finished = is_committed = False

    def note() -> None:
        nonlocal is_committed
        is_committed = True

    try:
        with transaction.atomic():
            transaction.on_commit(note)
            answer = work()
            is_finished = True
    except Exception as error:
        if is_committed:
            log.exception("A change was committed, and what follows a commit failed.")
            return answer
        if is_finished and isinstance(error, OperationalError | InterfaceError):
            raise OutcomeUnknown(*error.args) from error
        raise
    return answer


def _late(revision: int) -> list[str]:
    try:
        names = publication.await_gateways(revision=revision)
    except (DatabaseError, InterfaceError) as error:
        log.warning("The database went away while a change waited for gateways: %s", error)
        return [
            _("The database went away after the change was made. Gateway processes may not serve it yet.")
        ]
    sentence = _("The gateway process %(name)s does not serve this change yet.")
    return [sentence % {"name": name} for name in names]
