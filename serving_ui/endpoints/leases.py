"""Claims on due rows. A claim is a lease that its holder renews, with a fencing token that outdates earlier holders.

A killed worker stops renewing, so its row is free again after LEASE; a worker that comes back late finds its token old.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F, Q, QuerySet

from serving_ui.endpoints.models import Endpoint

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=2)
RENEWAL_SECONDS = 0.6
REDISPATCH = timedelta(seconds=2)  # a nudge that was lost is sent again after this

Clock = Callable[[], datetime]


def free(*, now: datetime) -> QuerySet[Endpoint]:
    """The rows that are to be reconciled, now or later, and that nobody holds."""
    unheld = Q(lease_until=None) | Q(lease_until__lt=now)
    return Endpoint.objects.filter(unheld, next_poll_at__isnull=False)


def due(*, now: datetime, limit: int = 100) -> list[str]:
    """The ids of rows that nobody holds and whose poll is due, each put off so that it is sent once per REDISPATCH."""
    rows = free(now=now).filter(next_poll_at__lte=now).order_by("next_poll_at")
    found = list(rows.values_list("pk", "next_poll_at")[:limit])
    # Compare-and-swap on the due time: of two sweeps one sends.
    return [
        pk
        for pk, at in found
        if Endpoint.objects.filter(pk=pk, next_poll_at=at).update(next_poll_at=now + REDISPATCH)
    ]


def claim(*, endpoint_id: str, now: datetime) -> int | None:
    """The fencing token of a new lease, or None when somebody holds one or nothing is to do."""
    row = free(now=now).filter(pk=endpoint_id)
    token = row.values_list("lease_token", flat=True).first()
    if token is None:
        return None
    won = row.filter(lease_token=token).update(lease_token=F("lease_token") + 1, lease_until=now + LEASE)
    return token + 1 if won else None


def release(*, endpoint_id: str, token: int, next_poll_at: datetime) -> None:
    """Ends the lease and says when to look again; without effect once the update is settled or the token old."""
    held = Endpoint.objects.filter(pk=endpoint_id, lease_token=token, next_poll_at__isnull=False)
    held.update(lease_until=None, next_poll_at=next_poll_at)


@dataclass(frozen=True, eq=False)
class _Held:
    """A lease that is renewed. `lost` is called, once, when somebody else decides about the row now."""

    endpoint_id: str
    token: int
    clock: Clock
    lost: Callable[[], None]


class _Renewer:
    """Renews all leases of this process from one thread with one connection, which lives while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[_Held] = set()
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()

    def add(self, held: _Held) -> None:
        with self._lock:
            self._held.add(held)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, held: _Held) -> None:
        with self._lock:
            self._held.discard(held)

    def lose_all(self) -> None:
        with self._lock:
            held, self._held = self._held, set()
        for each in held:
            each.lost()

    def _run(self) -> None:
        while held := self._next():
            for each in held:
                try:
                    self._renew(each)
                except (
                    DatabaseError,
                    InterfaceError,
                ) as error:  # away for a moment: the lease may outlast it
                    log.warning("The lease of endpoint %s cannot be renewed: %s", each.endpoint_id, error)
                    connection.close()
        connection.close()

    def _next(self) -> list[_Held]:
        """What is to be renewed after a pause; empty when this thread has nothing to do any more."""
        self._pause.wait(RENEWAL_SECONDS)
        with self._lock:
            if not self._held:
                self._thread = None
            return list(self._held)

    def _renew(self, each: _Held) -> None:
        row = Endpoint.objects.filter(pk=each.endpoint_id, lease_token=each.token, lease_until__isnull=False)
        if not row.update(lease_until=each.clock() + LEASE):
            self.remove(each)
            each.lost()


_renewer = _Renewer()


@contextmanager
def kept(*, endpoint_id: str, token: int, clock: Clock, lost: Callable[[], None]) -> Iterator[None]:
    """Renews the lease while the block runs. Calls `lost`, from another thread, as soon as it is known to be lost:
    the update was cancelled, the endpoint deleted, or another worker has taken over."""
    held = _Held(endpoint_id, token, clock, lost)
    _renewer.add(held)
    try:
        yield
    finally:
        _renewer.remove(held)


def abandon() -> None:
    """This process ends: whatever it holds is left to others."""
    _renewer.lose_all()
