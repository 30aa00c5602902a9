"""Which jobs run now: so many at a time in all, for one person and with one host, and the others by turns. Pure.

Nothing in here is lasting: a job that is lost with its process is found again by its row.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """Why a job waits."""

    PERSON = "person"
    HOST = "host"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Job:
    """`key` says what it is about, `person` who wants it, `hosts` whom it asks (scheme, host and port)."""

    key: str
    person: str
    hosts: frozenset[str] = frozenset()
    has_waited: bool = False
    """For whoever runs it: it was told to wait."""


class FairQueue:
    """Runs each job in a thread of its own, which lives as long as the job.

    A place that becomes free goes to the person who has waited longest for a turn, so that a hundred jobs of one person are
    no more in the way of another's than one is.
    """

    def __init__(
        self, run: Callable[[Job], None], *, most: int, most_of_a_person: int, most_of_a_host: int
    ) -> None:
        self._run = run
        self._most = most
        self._most_of_a_person = most_of_a_person
        self._most_of_a_host = most_of_a_host
        self._lock = threading.Lock()
        self._running = 0
        self._of_person: Counter[str] = Counter()
        self._of_host: Counter[str] = Counter()
        self._waiting: dict[str, deque[Job]] = {}  # by person, whose turn is next first
        self._keys: set[str] = set()
        self._is_closed = False

    def limit(self, job: Job) -> Limit | None:
        """Why it would have to wait at this moment, if it would."""
        with self._lock:
            return self._limit(job)

    def put(self, job: Job) -> None:
        """Start it now or when it is its turn. One that waits already is not added."""
        with self._lock:
            if job.key in self._keys or self._is_closed:
                return
            if self._limit(job) is None:
                self._start(job)
                return
            self._keys.add(job.key)
            self._waiting.setdefault(job.person, deque()).append(job)

    def close(self) -> None:
        """Start nothing any more."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            self._keys.clear()

    def _limit(self, job: Job) -> Limit | None:
        if self._of_person[job.person] >= self._most_of_a_person:
            return Limit.PERSON
        if any(self._of_host[host] >= self._most_of_a_host for host in job.hosts):
            return Limit.HOST
        return Limit.ALL if self._running >= self._most else None

    def _start(self, job: Job) -> None:
        threading.Thread(target=self._work, args=[job], name=f"job-{job.key}", daemon=True).start()
        self._running += 1
        self._of_person[job.person] += 1
        self._of_host.update(job.hosts)

    def _work(self, job: Job) -> None:
        try:
            self._run(job)
        finally:
            with self._lock:
                self._running -= 1
                self._of_person -= Counter({job.person: 1})  # drops those that have come to nothing
                self._of_host -= Counter(job.hosts)
                self._start_next()

    def _start_next(self) -> None:
        """Whatever may start now, one of each person at a time."""
        has_started = True
        while has_started:
            has_started = False
            for person in list(self._waiting):
                job = next((each for each in self._waiting[person] if self._limit(each) is None), None)
                if job is None:
                    continue
                has_started = True
                self._keys.discard(job.key)
                jobs = self._waiting.pop(person)
                jobs.remove(job)
                if jobs:
                    self._waiting[person] = jobs  # behind the others
                self._start(job)
