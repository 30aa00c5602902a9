"""Whether the worker still runs its recurring tasks: the worker records each completed run, and `/readyz` of the gateways tells
when one is overdue.

Times are on the database's clock, which all processes share.
"""

from __future__ import annotations

import threading
from time import monotonic

from django.db.models.functions import Now

from serving_ui.endpoints.models import WorkerHeartbeat

SWEEP, INGEST = "sweep", "intake"  # of due updates; of usage from the gateways' spool
RECORD_SECONDS = 5.0  # between two writes for the same task: the sweep runs every second
REFRESH_SECONDS = 1.0
STALE_SECONDS = (
    5.0  # without a successful read: the database is unreachable, and the state of the worker is unknown
)
OVERDUE_SECONDS = 30.0
_ADVICE = "Check that a worker, beat and the broker are running, and read their logs."
_DONE = {
    SWEEP: "run the sweep for due updates",
    INGEST: "stored usage in the database",
}
_CONSEQUENCE = {
    SWEEP: f"Updates may not progress. {_ADVICE}",
    INGEST: f"Usage waits in the data folder until then. {_ADVICE} `manage.py check_usage` names files that it cannot read.",
}

_lock = threading.Lock()
_recorded_at: dict[str, float] = {}  # monotonic, by task


def record_heartbeat(name: str) -> None:
    """Records that a recurring task has just completed. Writes at most once in RECORD_SECONDS."""
    with _lock:
        if monotonic() - _recorded_at.get(name, -RECORD_SECONDS) < RECORD_SECONDS:
            return
        _recorded_at[name] = monotonic()
    if not WorkerHeartbeat.objects.filter(pk=name).update(ended_at=Now()):
        WorkerHeartbeat.objects.update_or_create(pk=name, defaults={"ended_at": Now()})


def heartbeat_ages() -> dict[str, float]:
    """Seconds since each recurring task last completed; a task that never did is missing."""
    rows = WorkerHeartbeat.objects.annotate(now=Now()).values_list("name", "ended_at", "now")
    # A difference is negative when the clock was set back; its absolute value reports a worker that stopped before that.
    return {name: abs((now - at).total_seconds()) for name, at, now in rows}


class WorkerHealth:
    """The heartbeats as last read. One thread calls `refresh`; other threads read, without the database."""

    def __init__(self) -> None:
        self._ages: dict[str, float] = {}
        self._read_at = self._first_read_at = 0.0  # monotonic

    def refresh(self) -> None:
        """Reads from the database, at most once in REFRESH_SECONDS. Raises DatabaseError."""
        if monotonic() - self._read_at >= REFRESH_SECONDS:
            self._ages, self._read_at = heartbeat_ages(), monotonic()
            self._first_read_at = self._first_read_at or self._read_at

    def age(self, name: str) -> float | None:
        """Seconds since the task last completed, accurate to RECORD_SECONDS; None if unknown."""
        now = monotonic()
        if name not in self._ages or now - self._read_at > STALE_SECONDS:
            return None
        return self._ages[name] + now - self._read_at

    def check_health(self, name: str) -> str | None:
        """A sentence for the operator if the task is overdue."""
        age, now = self.age(name), monotonic()
        if age is not None:
            is_overdue, since = age > OVERDUE_SECONDS, f"for {age:.0f} s"
        else:
            is_known = now - self._read_at <= STALE_SECONDS
            is_overdue, since = is_known and now - self._first_read_at > OVERDUE_SECONDS, "yet"
        return f"No worker has {_DONE[name]} {since}. {_CONSEQUENCE[name]}" if is_overdue else None
