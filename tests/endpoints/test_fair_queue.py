"""The fair queue limits concurrent jobs per user, per host and in total, and lets users take turns."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.endpoints.fair_queue import FairQueue, Job, Limit
from tests.support.waiting import wait_until

MAX_RUNNING, PER_USER, PER_HOST = 6, 3, 4


class BlockingQueue:
    """A queue whose jobs run until a test ends them. `started` are the keys of started jobs in order."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self.ended = 0
        self.queue = FairQueue(
            self._run, max_running=MAX_RUNNING, max_per_user=PER_USER, max_per_host=PER_HOST
        )

    def _run(self, job: Job) -> None:
        with self._lock:
            self.started.append(job.key)
        self._gates[job.key].wait(10)
        with self._lock:
            self.ended += 1

    def put(self, key: str, person: str, *hosts: str) -> Limit | None:
        job = Job(key, person, frozenset(hosts))
        limit = self.queue.limit(job)
        self._gates.setdefault(key, threading.Event())
        self.queue.put(job)
        return limit

    def end(self, key: str) -> None:
        self._gates[key].set()

    def wait_for(self, *keys: str) -> None:
        """Wait until exactly these jobs have started."""
        wait_until(lambda: sorted(self.started) == sorted(keys))

    def finish(self) -> None:
        self.queue.close()
        for gate in self._gates.values():
            gate.set()
        wait_until(lambda: self.ended == len(self.started))


@pytest.fixture
def blocking_queue() -> BlockingQueue:
    return BlockingQueue()


def test_jobs_above_a_limit_wait_and_start_in_order(blocking_queue: BlockingQueue):
    assert [blocking_queue.put(f"a{n}", "ada") for n in range(5)] == [None] * 3 + [Limit.USER] * 2
    blocking_queue.wait_for("a0", "a1", "a2")
    assert blocking_queue.put("b0", "bob") is None
    blocking_queue.wait_for("a0", "a1", "a2", "b0")
    blocking_queue.end("a1")
    blocking_queue.wait_for("a0", "a1", "a2", "a3", "b0")
    blocking_queue.end("b0")
    blocking_queue.end("a0")
    blocking_queue.wait_for("a0", "a1", "a2", "a3", "a4", "b0")
    blocking_queue.finish()


def test_the_limit_of_a_host_applies_to_all_users_together(blocking_queue: BlockingQueue):
    assert [blocking_queue.put(f"{n}", f"person-{n}", "https://x:443") for n in range(5)] == [None] * 4 + [
        Limit.HOST
    ]
    assert blocking_queue.put("other", "person-9", "https://y:443") is None
    assert blocking_queue.put("both", "person-8", "https://y:443", "https://x:443") is Limit.HOST
    blocking_queue.wait_for("0", "1", "2", "3", "other")
    blocking_queue.end("2")
    blocking_queue.wait_for("0", "1", "2", "3", "4", "other")
    blocking_queue.finish()


def test_users_take_turns_for_a_free_place(blocking_queue: BlockingQueue):
    for person in "ab":
        for n in range(3):
            blocking_queue.put(f"{person}{n}", person)
    blocking_queue.wait_for("a0", "a1", "a2", "b0", "b1", "b2")
    for n in range(3, 53):
        assert blocking_queue.put(f"a{n}", "a")
    assert blocking_queue.put("c0", "c") is Limit.ALL
    assert blocking_queue.put("d0", "d") is Limit.ALL
    blocking_queue.end("b0")
    wait_until(lambda: len(blocking_queue.started) == 7)
    assert blocking_queue.started[-1] in ("c0", "a3"), "ada has three of her own already"
    blocking_queue.end("a0")
    wait_until(lambda: len(blocking_queue.started) == 8)
    blocking_queue.end("b1")
    wait_until(lambda: len(blocking_queue.started) == 9)
    assert {"c0", "d0"} < set(blocking_queue.started)
    blocking_queue.finish()


def test_a_waiting_job_is_not_added_again(blocking_queue: BlockingQueue):
    for n in range(3):
        blocking_queue.put(f"a{n}", "a")
    for _ in range(5):
        assert blocking_queue.put("a3", "a") is Limit.USER
    for n in range(3):
        blocking_queue.end(f"a{n}")
    wait_until(lambda: blocking_queue.started.count("a3") == 1)
    blocking_queue.end("a3")
    wait_until(lambda: blocking_queue.ended == 4)
    assert blocking_queue.started.count("a3") == 1
    assert blocking_queue.put("a3", "a") is None, "it may come again"
    blocking_queue.finish()


def test_a_closed_queue_starts_nothing(blocking_queue: BlockingQueue):
    for n in range(4):
        blocking_queue.put(f"a{n}", "a")
    blocking_queue.wait_for("a0", "a1", "a2")
    blocking_queue.queue.close()
    blocking_queue.put("b", "b")
    for n in range(3):
        blocking_queue.end(f"a{n}")
    wait_until(lambda: blocking_queue.ended == 3)
    assert len(blocking_queue.started) == 3


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sets(st.sampled_from("xyz"), max_size=2)), max_size=60)
)
def test_each_job_runs_once_within_the_limits(jobs: list[tuple[str, set[str]]]):
    running: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    ended: list[str] = []
    lock, breath = threading.Lock(), threading.Event()

    def run(job: Job) -> None:
        names = ["all", f"person {job.user}", *(f"host {host}" for host in job.hosts)]
        with lock:
            running.update(names)
            for name in names:
                peak[name] = max(peak[name], running[name])
        breath.wait(0.001)
        with lock:
            running.subtract(names)
            ended.append(job.key)

    queue = FairQueue(run, max_running=MAX_RUNNING, max_per_user=PER_USER, max_per_host=PER_HOST)
    numbers = count()
    for person, hosts in jobs:
        queue.put(Job(str(next(numbers)), person, frozenset(hosts)))
    wait_until(lambda: len(ended) == len(jobs))
    assert sorted(ended, key=int) == [str(number) for number in range(len(jobs))]
    assert peak["all"] <= MAX_RUNNING
    assert all(times <= PER_USER for name, times in peak.items() if name.startswith("person"))
    assert all(times <= PER_HOST for name, times in peak.items() if name.startswith("host"))
