"""A process that asks the shared limits for a number of admissions, and prints a line for each that it gets."""

from __future__ import annotations

import asyncio
import sys
from time import monotonic_ns

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway import redis_connection
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.limits import Limits, Mode
from serving_ui.gateway.redis_connection import RedisAddress
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal, SnapshotHolder

MOST = 200
TOKENS = 5000
redis_connection.TIMEOUT_SECONDS = 20.0  # on a busy machine Redis may answer late
LIMITS = (Limit("endpoint", MOST), Limit("endpoint", TOKENS, "tokens"), Limit("user", MOST - 1))
ANN = Principal("ann", "ann@example.com")


def print_line(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(url: str, endpoint_id: str, calls: int) -> None:
    holder = SnapshotHolder()
    limits = Limits(holder, redis=RedisAddress.parse(url))
    await limits.start()
    assert holder.limits_mode == Mode.SHARED
    endpoint = Endpoint(endpoint_id, "chat", Task.CHAT, (), limits=LIMITS)
    print_line("ready")
    await asyncio.to_thread(sys.stdin.readline)

    async def admit() -> bool:
        try:
            reservation = await limits.admit(endpoint=endpoint, principal=ANN, tokens=20, now=monotonic_ns())
        except GatewayError:
            return False
        reservation.settle(20)
        print_line("admitted")
        return True

    await asyncio.gather(*(admit() for _ in range(calls)))
    await limits.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
