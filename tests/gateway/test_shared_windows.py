"""Limit windows in Redis: several processes together never admit more than the limit in any 60 seconds."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from time import monotonic_ns

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway import redis_connection
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.limits import Limits, Mode
from serving_ui.gateway.redis_connection import RedisAddress, RedisConnection, encode_command
from serving_ui.gateway.shared_windows import ADMIT, SETTLE, SharedEntries, SharedWindows
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal, SnapshotHolder
from serving_ui.gateway.windows import MAX_ENTRIES, Demand, WindowFull
from tests.architecture.sources import ROOT
from tests.gateway import redis_counting
from tests.support.services import Service, running_redis
from tests.support.waiting import wait_until

US = 1_000_000
WINDOW_NS = 60 * US
CLOCK = "the clock of the tests"
IDS = count()
ANN = Principal("ann", "ann@example.com")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Service, str]]:
    with running_redis() as (service, url):
        yield service, url


@pytest.fixture(scope="module")
def url(server: tuple[Service, str]) -> str:
    return server[1]


@pytest.fixture(autouse=True)
def long_redis_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine Redis may answer late."""
    monkeypatch.setattr(redis_connection, "TIMEOUT_SECONDS", 20.0)


def with_test_clock(script: str) -> str:
    """The script with its clock replaced by a list in Redis that the test sets."""
    assert "redis.call('TIME')" in script
    return script.replace("redis.call('TIME')", f"redis.call('LRANGE', '{CLOCK}', 0, 1)")


class Processes:
    """A connection for each simulated process, and the time that the scripts in Redis use."""

    def __init__(self, url: str, connections: list[RedisConnection]) -> None:
        self._redis = redis.Redis.from_url(url)
        self._redis.flushall()
        self.now = 1_700_000_000 * US
        scripts = {"admit": with_test_clock(ADMIT), "settle": with_test_clock(SETTLE)}
        self.windows = [SharedWindows(connection, **scripts) for connection in connections]

    def pass_time(self, microseconds: int) -> None:
        self.now += microseconds
        self._redis.delete(CLOCK)
        self._redis.rpush(CLOCK, self.now // US, self.now % US)

    def keys(self) -> int:
        return int(self._redis.dbsize()) - 1

    def entries(self, pattern: str) -> int:
        return sum(int(self._redis.llen(key)) for key in self._redis.keys(pattern))


def run_with_processes(url: str, number: int, scenario: Callable[[Processes], Awaitable[None]]) -> None:
    """Run `scene` with `number` simulated processes."""

    async def play() -> None:
        connections = [await RedisConnection.open(RedisAddress.parse(url)) for _ in range(number)]
        processes = Processes(url, connections)
        processes.pass_time(0)
        await processes.windows[0].prepare()
        await scenario(processes)
        for connection in connections:
            connection.close()

    asyncio.run(play())


STEPS = st.lists(
    st.tuples(st.integers(0, 30 * US), st.integers(1, 12), st.integers(1, 30), st.integers(0, 30)),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("number", [1, 2, 8])
@given(most=st.integers(0, 8), steps=STEPS)
@settings(max_examples=25)
def test_no_60_seconds_admit_more_calls_than_the_limit_whichever_process_admits(
    url: str, number: int, most: int, steps: list[tuple[int, ...]]
):
    demands = {("e", "", "calls"): Demand(1, most), ("e", "p:u", "calls"): Demand(1, most + 1)}

    async def scenario(processes: Processes) -> None:
        admitted = list[int]()
        for step, at_once, tokens, _ in steps:
            processes.pass_time(step)
            bodies = demands | {("e", "", "tokens"): Demand(tokens, 40)}
            answers = await asyncio.gather(
                *(processes.windows[n % number].admit(bodies) for n in range(at_once))
            )
            admitted += [processes.now for answer in answers if isinstance(answer, SharedEntries)]
            for answer in answers:
                assert isinstance(answer, SharedEntries) or 0 < answer.wait_ns <= WINDOW_NS * 1000
        for moment in admitted:
            assert sum(moment - WINDOW_NS < other <= moment for other in admitted) <= most

    run_with_processes(url, number, scenario)


@given(steps=STEPS)
@settings(max_examples=25)
def test_tokens_are_reserved_and_settled_like_in_the_windows_of_one_process(
    url: str, steps: list[tuple[int, ...]]
):
    """The windows of one process are the reference: the same calls at the same times have the same outcome."""
    name = ("e", "", "tokens")

    async def scenario(processes: Processes) -> None:
        limits, rule = Limits(), Limit("endpoint", 60, "tokens")
        alone = Endpoint("e", "chat", Task.CHAT, (), limits=(rule,))
        for step, _, tokens, used in steps:
            processes.pass_time(step)
            now = processes.now * 1000
            shared = processes.windows[0]
            admission = await shared.admit({name: Demand(tokens, rule.per_minute)})
            try:
                own = await limits.admit(endpoint=alone, principal=ANN, tokens=tokens, now=now)
            except GatewayError as refused:
                assert isinstance(admission, WindowFull)
                assert refused.retry_after == max(1, -(-admission.wait_ns // 1_000_000_000))
                continue
            assert isinstance(admission, SharedEntries)
            own.settle(used, now=now)
            shared.settle(admission, reserved=tokens, used=used)
            await shared.connection.call(
                encode_command("PING")
            )  # Redis answers it after the settlement, which therefore happens before the time changes

    run_with_processes(url, 1, scenario)


def test_a_busy_window_stays_small_and_expires(url: str):
    async def scenario(processes: Processes) -> None:
        demands = {("e", "", "calls"): Demand(1, 10 * MAX_ENTRIES)}
        for _ in range(5):
            processes.pass_time(10_000)
            await asyncio.gather(*(processes.windows[0].admit(demands) for _ in range(MAX_ENTRIES)))
            processes.pass_time(1)
        assert processes.entries("*order") <= 2 * MAX_ENTRIES
        for key in processes._redis.keys("serving_ui:limit:{*"):
            assert 0 < processes._redis.pttl(key) <= 61_000

    run_with_processes(url, 1, scenario)


def counting(url: str, endpoint_id: str, calls: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", redis_counting.__name__, url, endpoint_id, str(calls)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert started.stdout is not None and started.stdout.readline() == "ready\n"
    return started


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def admitted(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    with process:
        return sum(line == "admitted\n" for line in process.stdout)


@pytest.mark.parametrize("number", [1, 2, 8])
def test_processes_under_load_admit_exactly_the_limit(url: str, number: int):
    endpoint_id = f"load-{next(IDS)}"
    running = [counting(url, endpoint_id, 400 // number + 50) for _ in range(number)]
    for process in running:
        go(process)
    assert sum(admitted(process) for process in running) == redis_counting.MOST - 1


def test_a_process_that_is_killed_and_started_again_admits_no_more(url: str):
    endpoint_id = f"killed-{next(IDS)}"
    first = counting(url, endpoint_id, 100)
    go(first)
    assert first.stdout is not None
    line = first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    before = (line == "admitted\n") + admitted(first)
    again = [counting(url, endpoint_id, 300) for _ in range(2)]
    for process in again:
        go(process)
    after = sum(admitted(process) for process in again)
    assert 0 < before <= 100
    assert redis_counting.MOST - 1 - 100 <= after <= redis_counting.MOST - 1 - before


async def attempts(limits: Limits, endpoint: Endpoint, number: int) -> list[GatewayError | None]:
    async def admit() -> GatewayError | None:
        try:
            await limits.admit(endpoint=endpoint, principal=ANN, tokens=0, now=monotonic_ns())
        except GatewayError as refused:
            return refused
        return None

    return await asyncio.gather(*(admit() for _ in range(number)))


async def wait_until_true(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, what="Redis to be noticed")


def test_without_redis_each_process_admits_its_share_and_reports_it():
    async def scenario() -> None:
        with running_redis() as (service, url):
            address = RedisAddress.parse(url)
            holders = [SnapshotHolder() for _ in range(3)]
            for place, holder in enumerate(holders):
                holder.rank_and_count = (place, len(holders))
            several = [Limits(holder, redis=address) for holder in holders]
            for limits in several:
                await limits.start()
            service.stop()
            await wait_until_true(lambda: all(holder.limits_mode == Mode.REDIS_DOWN for holder in holders))
            chat = Endpoint("apart", "chat", Task.CHAT, (), limits=(Limit("endpoint", 8),))
            answers = [await attempts(limits, chat, 9) for limits in several]
            assert [each.count(None) for each in answers] == [3, 3, 2]
            refused = answers[2][-1]
            assert refused is not None and refused.status == 429 and refused.retry_after is not None
            assert "8 calls per minute" in refused.message and "its share" in refused.message

            service.start()
            await wait_until_true(lambda: all(holder.limits_mode == Mode.SHARED for holder in holders))
            # Redis is empty after its restart; the calls that the processes admitted meanwhile still count.
            assert [(await attempts(limits, chat, 9)).count(None) for limits in several] == [0, 0, 0]
            for limits in several:
                await limits.stop()

    asyncio.run(scenario())


def test_a_process_that_starts_without_redis_admits_its_share():
    async def scenario() -> None:
        with running_redis() as (service, url):
            service.stop()
            holder = SnapshotHolder()
            holder.rank_and_count = (1, 2)
            limits = Limits(holder, redis=RedisAddress.parse(url))
            await limits.start()
            assert holder.limits_mode == Mode.REDIS_DOWN
            chat = Endpoint("late", "chat", Task.CHAT, (), limits=(Limit("user", 5),))
            assert (await attempts(limits, chat, 9)).count(None) == 2
            service.start()
            await wait_until_true(lambda: holder.limits_mode == Mode.SHARED)
            await limits.stop()

    asyncio.run(scenario())


def test_only_the_first_call_waits_for_a_redis_that_hangs(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_connection, "TIMEOUT_SECONDS", 0.5)

    async def scenario() -> None:
        holder = SnapshotHolder()
        limits = Limits(holder, redis=RedisAddress.parse(url))
        await limits.start()
        chat = Endpoint(f"hangs-{next(IDS)}", "chat", Task.CHAT, (), limits=(Limit("user", 5),))
        other = redis.Redis.from_url(url)
        other.client_pause(6_000, all=True)
        answers = await attempts(limits, chat, 9)
        assert answers.count(None) == 5
        assert holder.limits_mode == Mode.REDIS_DOWN
        await wait_until_true(lambda: holder.limits_mode == Mode.SHARED)
        await limits.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("address", ["http://127.0.0.1", "redis://", "redis://127.0.0.1/a", "127.0.0.1:6379"])
def test_an_invalid_address_is_refused_with_an_example(address: str):
    with pytest.raises(ValueError, match="Use an address such as"):
        RedisAddress.parse(address)


def test_the_address_is_shown_without_its_password():
    address = RedisAddress.parse("rediss://us:p%40ss@cache.example.com/3")
    assert str(address) == "cache.example.com:6379"
    assert address.handshake[:2] == [("AUTH", "us", "p@ss"), ("SELECT", "3")]
