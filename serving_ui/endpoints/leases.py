"""Leases on endpoints whose update is due, with a fencing token that invalidates earlier holders.

A worker renews its lease. When it crashes, the row is free again after LEASE. A worker that was suspended for longer finds that the
token has changed, and its writes match no row.

All times are on the database's clock, because the clocks of machines differ. If that clock is set back, a stored time can be further
in the future than any code sets it; such a time counts as past.
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
RESEND_AFTER = timedelta(seconds=2)  # a task that was lost is sent again
MAX_PAUSE = timedelta(seconds=60)  # between two polls


def claimable() -> QuerySet[Endpoint]:
    """Endpoints with an update, due now or later, that no worker holds."""
    unheld = Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + LEASE)
    return Endpoint.objects.filter(unheld, next_poll_at__isnull=False)


def due(*, limit: int = 100) -> list[str]:
    """The ids of claimable endpoints that are due. Moves their due time by RESEND_AFTER, so that other sweeps do not send them too."""
    rows = claimable().filter(Q(next_poll_at__lte=Now()) | Q(next_poll_at__gt=Now() + MAX_PAUSE))
    found = list(rows.order_by("next_poll_at").values_list("pk", flat=True)[:limit])
    # The update matches a row only while it is due: of two sweeps at the same time one sends it.
    return [pk for pk in found if rows.filter(pk=pk).update(next_poll_at=Now() + RESEND_AFTER)]


def claim(*, endpoint_id: str) -> int | None:
    """The fencing token of a new lease; None if another worker holds one or the endpoint has no update."""
    row = claimable().filter(pk=endpoint_id)
    token = row.values_list("lease_token", flat=True).first()
    if token is None:
        return None
    won = row.filter(lease_token=token).update(lease_token=F("lease_token") + 1, lease_until=Now() + LEASE)
    return token + 1 if won else None


def release(*, endpoint_id: str, token: int, pause: timedelta) -> None:
    """Ends the lease and makes the endpoint due after `pause`. No effect if the update has ended or the token is no longer valid."""
    row = Endpoint.objects.filter(pk=endpoint_id, lease_token=token, next_poll_at__isnull=False)
    row.update(lease_until=None, next_poll_at=Now() + min(pause, MAX_PAUSE))


@dataclass(frozen=True, eq=False)
class _Lease:
    """`on_lost` is called once, when the lease is found to be lost."""

    endpoint_id: str
    token: int
    on_lost: Callable[[], None]


class _Renewer:
    """Renews all leases of this process from one thread with one connection. The thread ends when there are no leases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[_Lease] = set()
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()

    def add(self, lease: _Lease) -> None:
        with self._lock:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, lease: _Lease) -> None:
        with self._lock:
            self._held.discard(lease)

    def lose_all(self) -> None:
        with self._lock:
            held, self._held = self._held, set()
        for each in held:
            each.on_lost()

    def _run(self) -> None:
        while held := self._next():
            for each in held:
                try:
                    self._renew(each)
                except (
                    DatabaseError,
                    InterfaceError,
                ) as error:  # the lease stays valid if the next renewal is in time
                    log.warning("The lease of endpoint %s cannot be renewed: %s", each.endpoint_id, error)
                    connection.close()
        connection.close()

    def _next(self) -> list[_Lease]:
        """Waits RENEWAL_SECONDS. Returns the leases to renew; when empty, the thread must end."""
        self._pause.wait(RENEWAL_SECONDS)
        with self._lock:
            if not self._held:
                self._thread = None
            return list(self._held)

    def _renew(self, each: _Lease) -> None:
        row = Endpoint.objects.filter(pk=each.endpoint_id, lease_token=each.token, lease_until__isnull=False)
        if not row.update(lease_until=Now() + LEASE):
            self.remove(each)
            each.on_lost()


_renewer = _Renewer()


@contextmanager
def renewed(*, endpoint_id: str, token: int, on_lost: Callable[[], None]) -> Iterator[None]:
    """Renews the lease while the block runs. Calls `on_lost` from another thread when the lease is lost, because the update was
    cancelled, the endpoint was deleted, or another worker has claimed it."""
    lease = _Lease(endpoint_id, token, on_lost)
    _renewer.add(lease)
    try:
        yield
    finally:
        _renewer.remove(lease)


def release_all() -> None:
    """For a process that ends: gives up all its leases, and calls their `on_lost`."""
    _renewer.lose_all()
