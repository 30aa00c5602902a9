"""What gateways must follow: the number of the newest snapshot, what was changed in it, and how far each process has come.

Any change that a gateway must know raises the revision in the same transaction and says what it was about. A gateway that
has taken a snapshot up acknowledges its revision; an update succeeds once every live process has acknowledged the one that
carries it. Whoever writes the revision holds its row until the commit, so revisions become visible in their order.

Which processes live is measured by the database's clock alone, because the clocks of machines differ.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from enum import StrEnum

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from serving_ui.endpoints.bell import Bell
from serving_ui.endpoints.models import Change, GatewayProcess, Revision

# A gateway says that it lives every second; one that was silent for this long is not waited for.
LIVE = timedelta(seconds=3)
FORGOTTEN = timedelta(hours=1)  # the row of one that is silent for longer is deleted
# So long a change waits for gateways to serve it before it is answered. It looks often at first, then less often.
PATIENCE = timedelta(seconds=2)
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.004, 0.05
CHANNEL = "serving_ui_revision"  # PostgreSQL tells of a new revision there, once it is committed
CHANGES_KEPT = 5000  # a gateway that lags further behind builds everything
TIDY_EVERY = 500

# Within this process: a revision was committed; a gateway has acknowledged one; who wants to know what it has raised.
raised, taken_up = Bell(), Bell()
_noted: ContextVar[list[int] | None] = ContextVar("noted", default=None)


class Subject(StrEnum):
    """What a change is about, with what its `subject` holds."""

    EVERYTHING = "everything"
    ENDPOINT = "endpoint"  # id
    PRINCIPAL = "principal"  # id
    GROUP = "group"  # id
    TOKEN = "token"  # digest  # noqa: S105
    SECRET = "secret"  # scope/key, or scope/ for all of them  # noqa: S105


def current() -> int:
    """The newest revision. One query."""
    number = Revision.objects.filter(pk=1).values_list("number", flat=True).first()
    return number if number is not None else Revision.objects.get_or_create(pk=1)[0].number


def bump(kind: Subject = Subject.EVERYTHING, subject: str = "") -> int:
    """Raises the revision; gateways see it once the surrounding transaction has committed."""
    with transaction.atomic():
        if not Revision.objects.filter(pk=1).update(number=F("number") + 1):
            Revision.objects.get_or_create(pk=1, defaults={"number": 2})
        number = current()
        Change.objects.create(revision=number, kind=kind, subject=subject)
        if number % TIDY_EVERY == 0:
            Change.objects.filter(revision__lt=number - CHANGES_KEPT).delete()
        _tell()
        note(number)
    return number


def note(number: int) -> None:
    """Whoever listens with `noting` hears of this revision once the surrounding transaction has committed."""
    noted = _noted.get()
    if noted is not None:
        transaction.on_commit(lambda: noted.append(number), robust=True)


@contextmanager
def noting() -> Iterator[list[int]]:
    """The revisions that the block raised and committed, as they come."""
    noted: list[int] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def _tell() -> None:
    """Wakes every follower once the surrounding transaction has committed; SQLite's hear of the commit by itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
    transaction.on_commit(raised.ring, robust=True)


def changes(*, since: int) -> list[Change] | None:
    """What was changed after revision `since`, oldest first; None when not all of that is known any more."""
    found = list(Change.objects.filter(revision__gt=since).order_by("revision", "pk"))
    whole = found and found[0].revision == since + 1
    return found if whole and all(each.kind != Subject.EVERYTHING for each in found) else None


def acknowledge(*, process: str, revision: int, limits: str = "own") -> None:
    """Notes that a gateway process lives, which snapshot it serves and how it counts rate limits."""
    fresh = {"revision": revision, "seen_at": Now(), "limits": limits}
    if not GatewayProcess.objects.filter(pk=process).update(**fresh):
        GatewayProcess.objects.update_or_create(pk=process, defaults=fresh)
        GatewayProcess.objects.exclude(_seen_within(FORGOTTEN)).delete()
    taken_up.ring()


def join(*, process: str) -> None:
    """A gateway process is about to serve: from now on changes wait for it, and the others share limits with it."""
    with transaction.atomic():
        acknowledge(process=process, revision=0)
        _tell()


def leave(*, process: str) -> None:
    """A gateway process ends; nobody waits for it any more."""
    with transaction.atomic():
        GatewayProcess.objects.filter(pk=process).delete()
        _tell()


def _seen_within(span: timedelta) -> Q:
    """Not longer ago. What is further off in the future was written before the clock was set back, or by another clock."""
    return Q(seen_at__gte=Now() - span, seen_at__lte=Now() + span)


def _live() -> QuerySet[GatewayProcess]:
    return GatewayProcess.objects.filter(_seen_within(LIVE))


def standing(*, process: str) -> tuple[int, int]:
    """Which of how many live gateway processes this one is, counted from 0."""
    names = list(_live().order_by("pk").values_list("pk", flat=True))
    return (names.index(process), len(names)) if process in names else (len(names), len(names) + 1)


def is_counting_apart() -> bool:
    """Whether a live gateway process cannot count rate limits with the others."""
    return _live().filter(limits="apart").exists()


def lagging(*, revision: int) -> list[str]:
    """The live gateway processes that do not serve `revision` yet."""
    return list(_live().filter(revision__lt=revision).values_list("pk", flat=True))


def await_gateways(*, revision: int) -> list[str]:
    """Waits until every live gateway process serves `revision`; returns those that were too late.

    A database that goes away meanwhile is asked again on another connection; raises its DatabaseError when it stays away.
    """
    until = time.monotonic() + PATIENCE.total_seconds()
    pause, heard = FIRST_LOOK_SECONDS, taken_up.rings
    while True:
        try:
            late = lagging(revision=revision)
            if not late or time.monotonic() >= until:
                return late
        except (DatabaseError, InterfaceError):
            connection.close()
            if time.monotonic() >= until:
                raise
        heard = taken_up.wait(heard, seconds=pause)
        pause = min(pause * 1.2, LAST_LOOK_SECONDS)
