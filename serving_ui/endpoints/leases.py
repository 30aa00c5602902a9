"""Claims on due rows. A claim is a lease that its holder renews, with a fencing token that outdates earlier holders.

A killed worker stops renewing, so its row is free again after LEASE; a worker that comes back late finds its token old.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import close_old_connections, connection
from django.db.models import F, Q

from serving_ui.endpoints.models import Endpoint

LEASE = timedelta(seconds=2)
RENEWAL_SECONDS = 0.6
REDISPATCH = timedelta(seconds=2)  # a nudge that was lost is sent again after this

Clock = Callable[[], datetime]


def due(*, now: datetime, limit: int = 100) -> list[str]:
    """The ids of rows that nobody holds and whose poll is due, each put off so that it is sent once per REDISPATCH."""
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    rows = Endpoint.objects.filter(free, next_poll_at__lte=now).order_by("next_poll_at")
    found = list(rows.values_list("pk", "next_poll_at")[:limit])
    # Compare-and-swap on the due time: of two sweeps one sends.
    return [
        pk
        for pk, at in found
        if Endpoint.objects.filter(pk=pk, next_poll_at=at).update(next_poll_at=now + REDISPATCH)
    ]


def claim(*, endpoint_id: str, now: datetime) -> int | None:
    """The fencing token of a new lease, or None when somebody holds one or nothing is to do."""
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    row = Endpoint.objects.filter(free, pk=endpoint_id, next_poll_at__isnull=False)
    token = row.values_list("lease_token", flat=True).first()
    if token is None:
        return None
    won = row.filter(lease_token=token).update(lease_token=F("lease_token") + 1, lease_until=now + LEASE)
    return token + 1 if won else None


def release(*, endpoint_id: str, token: int, next_poll_at: datetime) -> None:
    """Ends the lease and says when to look again; without effect once the update is settled or the token old."""
    held = Endpoint.objects.filter(pk=endpoint_id, lease_token=token, next_poll_at__isnull=False)
    held.update(lease_until=None, next_poll_at=next_poll_at)


@contextmanager
def kept(*, endpoint_id: str, token: int, clock: Clock) -> Iterator[None]:
    """Renews the lease in a thread of its own while the block runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEWAL_SECONDS):
            held = Endpoint.objects.filter(pk=endpoint_id, lease_token=token, lease_until__isnull=False)
            if not held.update(lease_until=clock() + LEASE):
                break
        connection.close()

    close_old_connections()
    thread = threading.Thread(target=renew, name=f"lease-{endpoint_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
