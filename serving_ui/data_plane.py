"""The gateway with what it needs to live: the follower that brings its snapshots, and what it says of its own health.

Mounted beside the pages by asgi.py, or run alone by `manage.py gateway`. `/healthz` is alive, `/readyz` is able to serve and
says what does not go as it should, `/metrics` is for Prometheus; they answer without a database.
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

_FILES = 65_536
_LOOK_AFTER = (
    3000  # new objects: 32 queries at once hold about 700, the usual number, and would each be looked through
)
NOT_YET = {
    "error_code": "TEMPORARILY_UNAVAILABLE",
    "message": "This gateway has just started and waits for its first snapshot from the database. Try again.",
}


class DataPlane:
    """One gateway in one process."""

    def __init__(self) -> None:
        self.holder = SnapshotHolder()
        self.recorder = UsageRecorder(spool=settings.SPOOL_FOLDER, metrics=settings.METRICS_FOLDER)
        self.metrics = Exposition(self.recorder.meter, self.holder, is_open=settings.METRICS == "open")
        redis = RedisAddress.parse(settings.REDIS_URL) if settings.REDIS_URL else None
        self.gateway = Gateway(self.holder, recorder=self.recorder, redis=redis, body=settings.QUERY_BODY)
        self.recorder.meter.gauges.append(self._gauges)
        self.follower = SnapshotFollower(self.holder)
        self.is_draining = False  # it answers what it has, and sends whoever it answers to another process
        self.health_checks: list[HealthCheck] = [
            self.follower.check_health,
            self.follower.check_cache_health,
            self._limits_apart,
            *(
                partial(self.follower.worker.check_health, task)
                for task in (worker_health.SWEEP, worker_health.INTAKE)
            ),
            *self.recorder.health_checks,
            lambda: self.follower.outdated,
        ]  # each a sentence for /readyz, which anybody may read, or nothing

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """Who answers the request, to be awaited: one layer less for each query. None when its path is somebody else's."""
        path: str = scope["path"]
        if path.startswith(PREFIXES):
            if self.holder.current.revision:
                if monotonic() > self.follower.sure_until:
                    return self._caught_up(scope, receive, send)
                return self.gateway(scope, receive, send)
            return answer(send, 503, NOT_YET, retry_after=1)
        if path == "/metrics":
            return self.metrics(scope, receive, send)
        if path == "/healthz":
            return answer(send, 200, {"status": "alive"})
        return self._say_how_it_is(send) if path == "/readyz" else None

    async def _caught_up(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A query that comes while it is not known whether something was changed."""
        await self.follower.catch_up()
        await self.gateway(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Starts and stops with the server."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                _allow_many_sockets()
                self.recorder.start()
                await self.gateway.start()
                self.follower.start()
                # What is loaded by now stays. To look through it for garbage takes 28 ms, in which nobody is answered.
                gc.collect()
                gc.freeze()
                gc.set_threshold(_LOOK_AFTER)
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
        """What there is to watch besides the requests."""
        yield Gauge(
            "serving_ui_snapshot_revision", "The newest snapshot in service.", self.holder.current.revision
        )
        told = "What does not go as it should; /readyz says it in words."
        yield Gauge("serving_ui_degraded", told, sum(1 for check in self.health_checks if check()))
        for mode in Mode:
            told = "1 for how rate limits are counted: by each process (own), in Redis (shared), or apart."
            yield Gauge("serving_ui_limits_mode", told, self.holder.limits == mode, {"mode": mode})
        for host, circuit in list(self.gateway.client.circuits().items()):
            told = "1 while a provider's host is left alone because it failed again and again."
            yield Gauge("serving_ui_circuit_open", told, circuit.is_open, {"host": host})

    def _limits_apart(self) -> str | None:
        if self.holder.limits != Mode.APART:
            return None
        place, processes = self.holder.rank_and_count
        return (
            "Redis cannot be reached. This process admits its own share of each limit: "
            f"it is number {place + 1} of {processes}."
        )

    async def _say_how_it_is(self, send: Send) -> None:
        # Draining is no reason to send callers elsewhere: on a new connection the same address has another process.
        status = (
            "draining" if self.is_draining else "ready" if self.is_ready else "waiting for the first snapshot"
        )
        degraded = [words for check in self.health_checks if (words := check())]
        about = {
            "status": status,
            "version": __version__,
            "degraded": degraded,
            "process": self.follower.process,
            "revision": self.holder.current.revision,
            "seconds_since_sweep": _rounded(self.follower.worker.age(worker_health.SWEEP)),
            "seconds_since_intake": _rounded(self.follower.worker.age(worker_health.INTAKE)),
        }
        await answer(send, 200 if self.is_ready else 503, about)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _allow_many_sockets() -> None:
    """A stream takes two, and many systems give a process 1,024 files unless it asks for more of what it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def refused(refusal: RequestRefused) -> dict[str, Any]:
    """What programs are told, with 400."""
    return {"error_code": "INVALID_PARAMETER_VALUE", "message": str(refusal)}


async def answer(send: Send, status: int, body: dict[str, Any], *, retry_after: int = 0) -> None:
    """A small JSON answer that nobody shall keep."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
