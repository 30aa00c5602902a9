"""Turns: so many jobs at a time of one person, of one host and in all, and nobody behind another's hundred."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.endpoints.fair_queue import FairQueue, Job, Limit
from tests.support.waiting import wait_until

MOST, OF_A_PERSON, OF_A_HOST = 6, 3, 4


class Bench:
    """A queue whose jobs run until a test lets them end. `started` are their keys, in the order in which they began."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self.ended = 0
        self.queue = FairQueue(self._run, max_running=MOST, max_per_user=OF_A_PERSON, max_per_host=OF_A_HOST)

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
        """Until exactly these have begun."""
        wait_until(lambda: sorted(self.started) == sorted(keys))

    def finish(self) -> None:
        self.queue.close()
        for gate in self._gates.values():
            gate.set()
        wait_until(lambda: self.ended == len(self.started))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_over_a_limit_waits_and_starts_in_turn(bench: Bench):
    assert [bench.put(f"a{n}", "ada") for n in range(5)] == [None] * 3 + [Limit.USER] * 2
    bench.wait_for("a0", "a1", "a2")
    assert bench.put("b0", "bob") is None
    bench.wait_for("a0", "a1", "a2", "b0")
    bench.end("a1")
    bench.wait_for("a0", "a1", "a2", "a3", "b0")
    bench.end("b0")
    bench.end("a0")
    bench.wait_for("a0", "a1", "a2", "a3", "a4", "b0")
    bench.finish()


def test_one_host_is_asked_by_so_many_at_a_time_whoever_they_are(bench: Bench):
    assert [bench.put(f"{n}", f"person-{n}", "https://x:443") for n in range(5)] == [None] * 4 + [Limit.HOST]
    assert bench.put("other", "person-9", "https://y:443") is None
    assert bench.put("both", "person-8", "https://y:443", "https://x:443") is Limit.HOST
    bench.wait_for("0", "1", "2", "3", "other")
    bench.end("2")
    bench.wait_for("0", "1", "2", "3", "4", "other")
    bench.finish()


def test_a_free_place_goes_round_among_persons(bench: Bench):
    for person in "ab":
        for n in range(3):
            bench.put(f"{person}{n}", person)
    bench.wait_for("a0", "a1", "a2", "b0", "b1", "b2")
    for n in range(3, 53):
        assert bench.put(f"a{n}", "a")
    assert bench.put("c0", "c") is Limit.ALL
    assert bench.put("d0", "d") is Limit.ALL
    bench.end("b0")
    wait_until(lambda: len(bench.started) == 7)
    assert bench.started[-1] in ("c0", "a3"), "ada has three of her own already"
    bench.end("a0")
    wait_until(lambda: len(bench.started) == 8)
    bench.end("b1")
    wait_until(lambda: len(bench.started) == 9)
    assert {"c0", "d0"} < set(bench.started)
    bench.finish()


def test_a_job_that_waits_is_put_once(bench: Bench):
    for n in range(3):
        bench.put(f"a{n}", "a")
    for _ in range(5):
        assert bench.put("a3", "a") is Limit.USER
    for n in range(3):
        bench.end(f"a{n}")
    wait_until(lambda: bench.started.count("a3") == 1)
    bench.end("a3")
    wait_until(lambda: bench.ended == 4)
    assert bench.started.count("a3") == 1
    assert bench.put("a3", "a") is None, "it may come again"
    bench.finish()


def test_a_closed_queue_starts_nothing(bench: Bench):
    for n in range(4):
        bench.put(f"a{n}", "a")
    bench.wait_for("a0", "a1", "a2")
    bench.queue.close()
    bench.put("b", "b")
    for n in range(3):
        bench.end(f"a{n}")
    wait_until(lambda: bench.ended == 3)
    assert len(bench.started) == 3


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sets(st.sampled_from("xyz"), max_size=2)), max_size=60)
)
def test_each_job_runs_once_and_no_limit_is_ever_passed(jobs: list[tuple[str, set[str]]]):
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    ended: list[str] = []
    lock, breath = threading.Lock(), threading.Event()

    def run(job: Job) -> None:
        names = ["all", f"person {job.user}", *(f"host {host}" for host in job.hosts)]
        with lock:
            running.update(names)
            for name in names:
                most[name] = max(most[name], running[name])
        breath.wait(0.001)
        with lock:
            running.subtract(names)
            ended.append(job.key)

    queue = FairQueue(run, max_running=MOST, max_per_user=OF_A_PERSON, max_per_host=OF_A_HOST)
    numbers = count()
    for person, hosts in jobs:
        queue.put(Job(str(next(numbers)), person, frozenset(hosts)))
    wait_until(lambda: len(ended) == len(jobs))
    assert sorted(ended, key=int) == [str(number) for number in range(len(jobs))]
    assert most["all"] <= MOST
    assert all(times <= OF_A_PERSON for name, times in most.items() if name.startswith("person"))
    assert all(times <= OF_A_HOST for name, times in most.items() if name.startswith("host"))
