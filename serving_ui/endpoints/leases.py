"""Claims on due rows. A claim is a lease that its holder renews, with a fencing token that outdates earlier holders.

A killed worker stops renewing, so its row is free again after LEASE; a worker that comes back late finds its token old.

All of it is measured by the database's clock, because machines differ. That clock can be set back as well: what is further off
than it can have been put counts as over, so that nothing is waited for longer than the longest pause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from serving_ui.endpoints.models import Endpoint

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=2)
RENEWAL_SECONDS = 0.6
REDISPATCH = timedelta(seconds=2)  # a nudge that was lost is sent again after this
LONGEST_PAUSE = timedelta(seconds=60)  # between two polls


def free() -> QuerySet[Endpoint]:
    """The rows that are to be reconciled, now or later, and that nobody holds."""
    unheld = Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + LEASE)
    return Endpoint.objects.filter(unheld, next_poll_at__isnull=False)


def due(*, limit: int = 100) -> list[str]:
    """The ids of rows that nobody holds and whose poll is due, each put off so that it is sent once per REDISPATCH."""
    rows = free().filter(Q(next_poll_at__lte=Now()) | Q(next_poll_at__gt=Now() + LONGEST_PAUSE))
    found = list(rows.order_by("next_poll_at").values_list("pk", flat=True)[:limit])
    # Whoever puts a row off finds it due, and nobody after them: of two sweeps one sends.
    return [pk for pk in found if rows.filter(pk=pk).update(next_poll_at=Now() + REDISPATCH)]


def claim(*, endpoint_id: str) -> int | None:
    """The fencing token of a new lease, or None when somebody holds one or nothing is to do."""
    row = free().filter(pk=endpoint_id)
    token = row.values_list("lease_token", flat=True).first()
    if token is None:
        return None
    won = row.filter(lease_token=token).update(lease_token=F("lease_token") + 1, lease_until=Now() + LEASE)
    return token + 1 if won else None


def release(*, endpoint_id: str, token: int, pause: timedelta) -> None:
    """Ends the lease; after `pause` it is due again. Without effect once the update is settled or the token old."""
    held = Endpoint.objects.filter(pk=endpoint_id, lease_token=token, next_poll_at__isnull=False)
    held.update(lease_until=None, next_poll_at=Now() + min(pause, LONGEST_PAUSE))


@dataclass(frozen=True, eq=False)
class _Held:
    """A lease that is renewed. `lost` is called, once, when somebody else decides about the row now."""

    endpoint_id: str
    token: int
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
        if not row.update(lease_until=Now() + LEASE):
            self.remove(each)
            each.lost()


_renewer = _Renewer()


@contextmanager
def kept(*, endpoint_id: str, token: int, lost: Callable[[], None]) -> Iterator[None]:
    """Renews the lease while the block runs. Calls `lost`, from another thread, as soon as it is known to be lost:
    the update was cancelled, the endpoint deleted, or another worker has taken over."""
    held = _Held(endpoint_id, token, lost)
    _renewer.add(held)
    try:
        yield
    finally:
        _renewer.remove(held)


def abandon() -> None:
    """This process ends: whatever it holds is left to others."""
    _renewer.lose_all()
