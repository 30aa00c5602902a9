"""A queue of jobs with limits in total, per user and per host, which is fair between users.

It is in memory only: the jobs of a process that crashed are found again by their rows.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """The limit because of which a job waits."""

    USER = "user"
    HOST = "host"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Job:
    """`key` identifies the job, `user` is the id of whoever submitted it, `hosts` are the origins that it connects to."""

    key: str
    user: str
    hosts: frozenset[str] = frozenset()
    has_waited: bool = False
    """Set by the caller if the job had to wait."""


class FairQueue:
    """Runs each job in a new thread.

    Users take turns (round-robin), so a hundred jobs of one user delay another user's job no more than one job does.
    """

    def __init__(
        self, run: Callable[[Job], None], *, max_running: int, max_per_user: int, max_per_host: int
    ) -> None:
        self._run = run
        self._max_running = max_running
        self._max_per_user = max_per_user
        self._max_per_host = max_per_host
        self._lock = threading.Lock()
        self._running = 0
        self._per_user: Counter[str] = Counter()
        self._per_host: Counter[str] = Counter()
        self._waiting: dict[str, deque[Job]] = {}  # by user, in the order of their turns
        self._keys: set[str] = set()
        self._is_closed = False

    def limit(self, job: Job) -> Limit | None:
        """The limit because of which the job would have to wait now; None if it could run."""
        with self._lock:
            return self._limit(job)

    def put(self, job: Job) -> None:
        """Runs the job now or when its turn comes. Ignored if a job with this key waits already."""
        with self._lock:
            if job.key in self._keys or self._is_closed:
                return
            if self._limit(job) is None:
                self._start(job)
                return
            self._keys.add(job.key)
            self._waiting.setdefault(job.user, deque()).append(job)

    def close(self) -> None:
        """Starts no more jobs."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            self._keys.clear()

    def _limit(self, job: Job) -> Limit | None:
        if self._per_user[job.user] >= self._max_per_user:
            return Limit.USER
        if any(self._per_host[host] >= self._max_per_host for host in job.hosts):
            return Limit.HOST
        return Limit.ALL if self._running >= self._max_running else None

    def _start(self, job: Job) -> None:
        threading.Thread(target=self._work, args=[job], name=f"job-{job.key}", daemon=True).start()
        self._running += 1
        self._per_user[job.user] += 1
        self._per_host.update(job.hosts)

    def _work(self, job: Job) -> None:
        try:
            self._run(job)
        finally:
            with self._lock:
                self._running -= 1
                self._per_user -= Counter({job.user: 1})  # `-=` of a Counter drops entries that are 0
                self._per_host -= Counter(job.hosts)
                self._start_next()

    def _start_next(self) -> None:
        """Starts the waiting jobs that the limits allow, one of each user per round."""
        has_started = True
        while has_started:
            has_started = False
            for user in list(self._waiting):
                job = next((each for each in self._waiting[user] if self._limit(each) is None), None)
                if job is None:
                    continue
                has_started = True
                self._keys.discard(job.key)
                jobs = self._waiting.pop(user)
                jobs.remove(job)
                if jobs:
                    self._waiting[user] = jobs  # now last in the order
                self._start(job)
