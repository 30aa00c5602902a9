"""The cost of an admission with two limits in Redis: our own connection, and redis.asyncio with the same script.

    python -m tests.bench.redis_limits [--calls N]

Starts Redis of Debian's package on a free port. Prints admissions a second, the median wait and the processor time of each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter, process_time

import redis.asyncio
import uvloop

from serving_ui.gateway.redis_connection import RedisAddress, RedisConnection
from serving_ui.gateway.shared_windows import ADMIT, SharedWindows
from serving_ui.gateway.windows import Demand
from tests.support.services import running_redis

LIMIT = 100_000_000
DEMANDS = {("bench", "", "calls"): Demand(1, LIMIT), ("bench", "p:someone", "calls"): Demand(1, LIMIT)}
KEYS = ["a{bench}", "a{bench}:order", "b{bench}", "b{bench}:order"]
One = Callable[[], Awaitable[object]]


async def measured(name: str, one: One, *, calls: int, at_once: int) -> str:
    waits: list[float] = []

    async def some() -> None:
        for _ in range(calls // at_once):
            began = perf_counter()
            await one()
            waits.append(perf_counter() - began)

    await one()
    began, cpu = perf_counter(), process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    seconds, cpu = perf_counter() - began, process_time() - cpu
    rate, wait, each = len(waits) / seconds, median(waits) * 1e6, cpu / len(waits) * 1e6
    return f"{name:<16}{at_once:>8}{rate:>12,.0f}/s{wait:>10.0f} us{each:>10.1f} us"


async def table(url: str, calls: int) -> list[str]:
    ours = SharedWindows(await RedisConnection.open(RedisAddress.parse(url)))
    await ours.prepare()
    async with redis.asyncio.Redis.from_url(url) as client:
        script = client.register_script(ADMIT)
        ways: dict[str, One] = {
            "our line": lambda: ours.admit(DEMANDS),
            "redis.asyncio": lambda: script(keys=KEYS, args=[1, LIMIT, 1, LIMIT]),
        }
        rows = [f"{'':<16}{'at once':>8}{'admitted':>14}{'median':>13}{'processor':>13}"]
        for at_once in (1, 32):
            for name, one in ways.items():
                rows.append(await measured(name, one, calls=calls, at_once=at_once))
    ours.connection.close()
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--calls", type=int, default=6400)
    calls = options.parse_args().calls
    with running_redis() as (_service, url):
        sys.stdout.write("\n".join(uvloop.run(table(url, calls))) + "\n")


if __name__ == "__main__":
    main()
