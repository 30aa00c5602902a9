"""When the worker last got something done, for whoever asks whether it still works: on the database's clock, which all share."""

from __future__ import annotations

import threading
from time import monotonic

from django.db.models.functions import Now

from serving_ui.endpoints.models import Chore

SWEEP, INTAKE = "sweep", "intake"
NOTED_SECONDS = 5.0  # a sweep each second is not worth a write each second

_lock = threading.Lock()
_noted: dict[str, float] = {}


def ended(name: str) -> None:
    """This chore was done just now. Noted once in NOTED_SECONDS."""
    with _lock:
        if monotonic() - _noted.get(name, -NOTED_SECONDS) < NOTED_SECONDS:
            return
        _noted[name] = monotonic()
    if not Chore.objects.filter(pk=name).update(ended_at=Now()):
        Chore.objects.update_or_create(pk=name, defaults={"ended_at": Now()})


def ages() -> dict[str, float]:
    """Seconds since each chore was last done, by its name; one that never was is missing."""
    rows = Chore.objects.annotate(now=Now()).values_list("name", "ended_at", "now")
    # A clock that was set back makes it negative, until the worker notes the next one: if it does, that takes seconds.
    return {name: abs((now - at).total_seconds()) for name, at, now in rows}
