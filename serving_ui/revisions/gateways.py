"""Which gateway processes are live, and which revision each one serves.

A gateway process acknowledges the revision of each snapshot that it puts into service, and repeats it every second. A change is
in force once every live process has acknowledged its revision. All times are on the database's clock, because the clocks of
machines differ.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from serving_ui.revisions.changes import notify_followers
from serving_ui.revisions.models import GatewayProcess
from serving_ui.revisions.revision_signal import revision_acknowledged

LIVENESS_TIMEOUT = timedelta(seconds=3)  # a process that was silent for longer is not waited for
DELETION_AGE = timedelta(hours=1)  # the row of a process that was silent for longer is deleted
ACKNOWLEDGEMENT_TIMEOUT = timedelta(
    seconds=2
)  # a change is answered after this, with the late processes named
FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.004, 0.05  # the interval grows from the first to the last


def acknowledge(*, process: str, revision: int, limits: str = "own") -> None:
    """Records that a gateway process is live, the revision that it serves, and how it counts rate limits."""
    values = {"revision": revision, "seen_at": Now(), "limits": limits}
    if not GatewayProcess.objects.filter(pk=process).update(**values):
        GatewayProcess.objects.update_or_create(pk=process, defaults=values)
        GatewayProcess.objects.exclude(_seen_within(DELETION_AGE)).delete()
    revision_acknowledged.notify()


def join(*, process: str) -> None:
    """Registers a gateway process that starts to serve: changes wait for it, and it gets a share of each rate limit."""
    with transaction.atomic():
        acknowledge(process=process, revision=0)
        notify_followers()


def leave(*, process: str) -> None:
    """Removes a gateway process that ends."""
    with transaction.atomic():
        GatewayProcess.objects.filter(pk=process).delete()
        notify_followers()


def _seen_within(span: timedelta) -> Q:
    """Whether a process reported within `span`. A time further than that in the future was written before the clock was set back."""
    return Q(seen_at__gte=Now() - span, seen_at__lte=Now() + span)


def _live() -> QuerySet[GatewayProcess]:
    return GatewayProcess.objects.filter(_seen_within(LIVENESS_TIMEOUT))


def rank_and_count(*, process: str) -> tuple[int, int]:
    """The position of this process among the live ones, from 0, and their number."""
    names = list(_live().order_by("pk").values_list("pk", flat=True))
    return (names.index(process), len(names)) if process in names else (len(names), len(names) + 1)


def is_redis_down() -> bool:
    """Whether a live gateway process cannot reach Redis and so enforces only its own share of each rate limit."""
    return _live().filter(limits="apart").exists()


def lagging_gateways(*, revision: int) -> list[str]:
    """The live gateway processes that do not serve `revision` yet."""
    return list(_live().filter(revision__lt=revision).values_list("pk", flat=True))


def wait_for_gateways(*, revision: int) -> list[str]:
    """Waits until every live gateway process serves `revision`; returns those that do not after ACKNOWLEDGEMENT_TIMEOUT.

    Reconnects when the connection to the database is lost; raises its DatabaseError if the database stays unreachable.
    """
    until = time.monotonic() + ACKNOWLEDGEMENT_TIMEOUT.total_seconds()
    interval, seen = FIRST_POLL_SECONDS, revision_acknowledged.count
    while True:
        try:
            late = lagging_gateways(revision=revision)
            if not late or time.monotonic() >= until:
                return late
        except (DatabaseError, InterfaceError):
            connection.close()
            if time.monotonic() >= until:
                raise
        seen = revision_acknowledged.wait(seen, timeout=interval)
        interval = min(interval * 1.2, LAST_POLL_SECONDS)
