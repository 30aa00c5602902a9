"""Revisions: each change that gateways must follow raises one number and records what it changed.

Both happen in the transaction of the change itself. That transaction holds the row of the number until it commits, so
revisions become visible in ascending order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import F

from serving_ui.revisions.models import Change, Revision
from serving_ui.revisions.revision_signal import revision_committed

CHANNEL = "serving_ui_revision"  # of PostgreSQL's NOTIFY, which is delivered when the transaction commits
MAX_CHANGES = 5000  # a gateway that is further behind builds its whole snapshot
DELETE_EVERY = 500  # revisions between two deletions of older changes

_tracked: ContextVar[list[int] | None] = ContextVar("tracked", default=None)


class Subject(StrEnum):
    """The kind of thing that was changed; the comment says what `Change.subject` holds."""

    EVERYTHING = "everything"
    ENDPOINT = "endpoint"  # id
    PRINCIPAL = "principal"  # id
    GROUP = "group"  # id
    TOKEN = "token"  # digest  # noqa: S105
    SECRET = "secret"  # scope/key, or scope/ for all secrets of the scope  # noqa: S105


def current_revision() -> int:
    """The newest revision. One query."""
    number = Revision.objects.filter(pk=1).values_list("number", flat=True).first()
    return number if number is not None else Revision.objects.get_or_create(pk=1)[0].number


def bump_revision(kind: Subject = Subject.EVERYTHING, subject: str = "") -> int:
    """Raises the revision and returns it; gateways see it once the surrounding transaction has committed."""
    with transaction.atomic():
        if not Revision.objects.filter(pk=1).update(number=F("number") + 1):
            Revision.objects.get_or_create(pk=1, defaults={"number": 2})
        number = current_revision()
        Change.objects.create(revision=number, kind=kind, subject=subject)
        if number % DELETE_EVERY == 0:
            Change.objects.filter(revision__lt=number - MAX_CHANGES).delete()
        notify_followers()
        track(number)
    return number


def track(number: int) -> None:
    """Adds a revision to the list of the enclosing `track_revisions` once the surrounding transaction has committed."""
    tracked = _tracked.get()
    if tracked is not None:
        transaction.on_commit(lambda: tracked.append(number), robust=True)


@contextmanager
def track_revisions() -> Iterator[list[int]]:
    """Yields a list, to which each revision that the block raises is added when it commits."""
    tracked: list[int] = []
    token = _tracked.set(tracked)
    try:
        yield tracked
    finally:
        _tracked.reset(token)


def notify_followers() -> None:
    """Wakes the gateway processes once the surrounding transaction has committed. On SQLite those of other processes see the
    commit in the database file; see `snapshots.change_listener`."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
    transaction.on_commit(revision_committed.notify, robust=True)


def changes_since(revision: int) -> list[Change] | None:
    """The changes after `revision`, oldest first; None if some of them were deleted or are not limited to one subject."""
    found = list(Change.objects.filter(revision__gt=revision).order_by("revision", "pk"))
    is_complete = found and found[0].revision == revision + 1
    return found if is_complete and all(each.kind != Subject.EVERYTHING for each in found) else None
