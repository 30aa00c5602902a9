"""The gateway as it runs in a process: with the snapshot follower, usage recording, metrics and health checks.

Mounted beside the pages by asgi.py, or run alone by `manage.py gateway`. Answers queries and, without a database, `/healthz` (the
process is alive), `/readyz` (it can serve; lists what is degraded) and `/metrics` (for Prometheus).
"""

from __future__ import annotations

import gc
import json
import resource
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from time import monotonic
from typing import Any

from django.conf import settings

from serving_ui import __version__
from serving_ui.endpoints import worker_health
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.exposition import Exposition
from serving_ui.gateway.limits import Mode
from serving_ui.gateway.meter import Gauge
from serving_ui.gateway.paths import PREFIXES
from serving_ui.gateway.redis_connection import RedisAddress
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.gateway.usage_recorder import UsageRecorder
from serving_ui.lib.request import RequestRefused
from serving_ui.snapshots.follower import SnapshotFollower

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HealthCheck = Callable[[], str | None]

_WANTED_FILE_DESCRIPTORS = 65_536
_GC_THRESHOLD = 3000  # objects: 32 concurrent queries allocate about 700, Python's default, and would be scanned each time
_NO_SNAPSHOT = {
    "error_code": "TEMPORARILY_UNAVAILABLE",
    "message": "This gateway has just started and waits for its first snapshot from the database. Try again.",
}


class GatewayService:
    """One per process."""

    def __init__(self) -> None:
        self.holder = SnapshotHolder()
        self.recorder = UsageRecorder(spool=settings.SPOOL_FOLDER, metrics=settings.METRICS_FOLDER)
        self.metrics = Exposition(self.recorder.meter, self.holder, is_open=settings.METRICS == "open")
        redis = RedisAddress.parse(settings.REDIS_URL) if settings.REDIS_URL else None
        self.gateway = Gateway(self.holder, recorder=self.recorder, redis=redis, body=settings.QUERY_BODY)
        self.recorder.meter.gauges.append(self._gauges)
        self.follower = SnapshotFollower(self.holder)
        self.is_draining = (
            False  # set by the server: open queries are answered, new connections go to another process
        )
        self.health_checks: list[HealthCheck] = [
            self.follower.check_health,
            self.follower.check_cache_health,
            self._limits_problem,
            *(
                partial(self.follower.worker.check_health, task)
                for task in (worker_health.SWEEP, worker_health.INGEST)
            ),
            *self.recorder.health_checks,
            lambda: self.follower.newer_database_warning,
        ]  # each returns None, or a sentence for /readyz, which is public

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """The awaitable that answers the request (not a coroutine, to save one per query); None for other paths."""
        path: str = scope["path"]
        if path.startswith(PREFIXES):
            if self.holder.current.revision:
                if monotonic() > self.follower.sure_until:
                    return self._answer_after_catch_up(scope, receive, send)
                return self.gateway(scope, receive, send)
            return answer(send, 503, _NO_SNAPSHOT, retry_after=1)
        if path == "/metrics":
            return self.metrics(scope, receive, send)
        if path == "/healthz":
            return answer(send, 200, {"status": "alive"})
        return self._answer_readyz(send) if path == "/readyz" else None

    async def _answer_after_catch_up(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a query that arrives while the snapshot may be out of date."""
        await self.follower.catch_up()
        await self.gateway(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """The ASGI lifespan protocol."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                _raise_file_limit()
                self.recorder.start()
                await self.gateway.start()
                self.follower.start()
                # Exempt what is loaded by now from garbage collection, which would block every query for 28 ms.
                gc.collect()
                gc.freeze()
                gc.set_threshold(_GC_THRESHOLD)
                await send({"type": "lifespan.startup.complete"})
            else:
                self.follower.stop()
                await self.gateway.stop()
                self.recorder.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    @property
    def is_ready(self) -> bool:
        return self.holder.current.revision > 0

    def _gauges(self) -> Iterable[Gauge]:
        """The metrics of this process besides those of requests."""
        yield Gauge(
            "serving_ui_snapshot_revision", "The newest snapshot in service.", self.holder.current.revision
        )
        help_text = "Health checks that report a problem; /readyz describes each of them."
        yield Gauge("serving_ui_degraded", help_text, sum(1 for check in self.health_checks if check()))
        for mode in Mode:
            help_text = (
                "1 for how rate limits are counted: by each process (own), in Redis (shared), or by each process "
                "because Redis is down (apart)."
            )
            yield Gauge("serving_ui_limits_mode", help_text, self.holder.limits_mode == mode, {"mode": mode})
        for host, circuit in list(self.gateway.client.circuits().items()):
            help_text = "1 while queries to a provider's host are stopped because it failed repeatedly."
            yield Gauge("serving_ui_circuit_open", help_text, circuit.is_open, {"host": host})

    def _limits_problem(self) -> str | None:
        if self.holder.limits_mode != Mode.REDIS_DOWN:
            return None
        rank, processes = self.holder.rank_and_count
        return (
            "Redis cannot be reached. Until it is back, this process enforces its own share of each limit: "
            f"it is number {rank + 1} of {processes}."
        )

    async def _answer_readyz(self, send: Send) -> None:
        # 200 while draining: a load balancer must keep this address, where another process accepts new connections.
        status = (
            "draining" if self.is_draining else "ready" if self.is_ready else "waiting for the first snapshot"
        )
        degraded = [sentence for check in self.health_checks if (sentence := check())]
        body = {
            "status": status,
            "version": __version__,
            "degraded": degraded,
            "process": self.follower.process,
            "revision": self.holder.current.revision,
            "seconds_since_sweep": _rounded(self.follower.worker.age(worker_health.SWEEP)),
            "seconds_since_intake": _rounded(self.follower.worker.age(worker_health.INGEST)),
        }
        await answer(send, 200 if self.is_ready else 503, body)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _raise_file_limit() -> None:
    """Raise the soft limit of open files, often 1,024; a streamed query takes two sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _WANTED_FILE_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_WANTED_FILE_DESCRIPTORS, hard)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def refused(refusal: RequestRefused) -> dict[str, Any]:
    """The JSON body of the 400 for a request that no handler accepts."""
    return {"error_code": "INVALID_PARAMETER_VALUE", "message": str(refusal)}


async def answer(send: Send, status: int, body: dict[str, Any], *, retry_after: int = 0) -> None:
    """Send a small JSON response that must not be cached."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
