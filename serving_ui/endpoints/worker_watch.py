"""Whether the worker still does what it should, as `/readyz` tells it: read by the follower, said without a database."""

from __future__ import annotations

from time import monotonic

from serving_ui.endpoints import chores

LOOK_SECONDS = 1.0
STALE_SECONDS = 5.0  # what was read longer ago says nothing of now: the database is away
LATE_SECONDS = 30.0
_SEE = "See that a worker, beat and the broker run, and what their logs say."
_DONE = {
    chores.SWEEP: "looked for updates that are due",
    chores.INTAKE: "taken usage into the database",
}
_MEANING = {
    chores.SWEEP: f"Updates may stand still. {_SEE}",
    chores.INTAKE: f"It is kept in the data folder until then. {_SEE} `manage.py check_usage` names files that it cannot read.",
}


class WorkerWatch:
    """Read by one thread, asked by others."""

    def __init__(self) -> None:
        self._ages: dict[str, float] = {}
        self._looked_at = self._began_at = 0.0

    def look(self) -> None:
        """Reads from the database, at most once in LOOK_SECONDS. Raises DatabaseError."""
        if monotonic() - self._looked_at >= LOOK_SECONDS:
            self._ages, self._looked_at = chores.ages(), monotonic()
            self._began_at = self._began_at or self._looked_at

    def age(self, name: str) -> float | None:
        """Seconds since this chore was last done, give or take `chores.NOTED_SECONDS`; None when that is not known."""
        now = monotonic()
        if name not in self._ages or now - self._looked_at > STALE_SECONDS:
            return None
        return self._ages[name] + now - self._looked_at

    def concern(self, name: str) -> str | None:
        """What is wrong with this chore, if something is."""
        age, now = self.age(name), monotonic()
        if age is not None:
            is_late, since = age > LATE_SECONDS, f"for {age:.0f} s"
        else:
            is_known = now - self._looked_at <= STALE_SECONDS
            is_late, since = is_known and now - self._began_at > LATE_SECONDS, "yet"
        return f"No worker has {_DONE[name]} {since}. {_MEANING[name]}" if is_late else None
