"""What gateways must follow: the number of the newest snapshot, and how far each live process has come.

Any change that a gateway must know raises the revision in the same transaction. A gateway that has taken a snapshot up
acknowledges its revision; an update succeeds once every live process has acknowledged the one that carries it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import F

from serving_ui.endpoints.models import GatewayProcess, Revision

# A gateway says that it lives every second; one that was silent for this long is not waited for.
LIVE = timedelta(seconds=3)
# So long a change waits for gateways to serve it before it is answered, and so often it looks.
PATIENCE = timedelta(seconds=2)
LOOK_SECONDS = 0.02


def current() -> int:
    """The newest revision. One query, asked by every gateway ten times a second."""
    number = Revision.objects.filter(pk=1).values_list("number", flat=True).first()
    return number if number is not None else Revision.objects.get_or_create(pk=1)[0].number


def bump() -> int:
    """Raises the revision; gateways see it once the surrounding transaction has committed."""
    if not Revision.objects.filter(pk=1).update(number=F("number") + 1):
        Revision.objects.get_or_create(pk=1, defaults={"number": 2})
    return current()


def acknowledge(*, process: str, revision: int, now: datetime) -> None:
    """Notes that a gateway process lives and which snapshot it serves."""
    fresh = {"revision": revision, "seen_at": now}
    if not GatewayProcess.objects.filter(pk=process).update(**fresh):
        GatewayProcess.objects.update_or_create(pk=process, defaults=fresh)
        GatewayProcess.objects.filter(seen_at__lt=now - timedelta(hours=1)).delete()


def leave(*, process: str) -> None:
    """A gateway process ends; nobody waits for it any more."""
    GatewayProcess.objects.filter(pk=process).delete()


def lagging(*, revision: int, now: datetime) -> list[str]:
    """The live gateway processes that do not serve `revision` yet."""
    behind = GatewayProcess.objects.filter(revision__lt=revision, seen_at__gte=now - LIVE)
    return list(behind.values_list("pk", flat=True))


def await_gateways(*, revision: int, clock: Callable[[], datetime]) -> list[str]:
    """Waits until every live gateway process serves `revision`; returns those that were too late."""
    until = clock() + PATIENCE
    pause = threading.Event()
    while late := lagging(revision=revision, now=clock()):
        if clock() >= until:
            break
        pause.wait(LOOK_SECONDS)
    return late
