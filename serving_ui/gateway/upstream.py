"""The one pooled client through which every query leaves. Follows no redirect, reads no proxy from the environment.

Why our own HTTP/1.1 client, on asyncio and httptools' parser (the one that uvicorn uses), and no library. A bare proxy behind
uvicorn (uvloop, httptools) on one core, nginx and wrk on the other; requests/s with 32 connections, median with one, processor
time of a request:

    this one   20,200   0.11 ms   43 us
    pyreqwest  20,900   0.13      50
    aiohttp    11,600   0.18     102
    httpx       1,290   0.58     910
    (none      48,350   0.05      25   the same server with nothing behind it; nginx as the proxy: 79,000 and 0.11 ms)

Speed leaves two. pyreqwest 0.15 goes on with a request after its task has been cancelled, until the
provider answers (measured: the socket stays open), and takes one fixed address per client; aiohttp can check addresses in a
resolver but is half as fast. Here the address that the egress policy has seen is the address that is connected to, leaving
callers and deadlines close the socket in the same instant, and a reply that was cut is never mistaken for a whole one.
tests/bench/servers.py makes the table again.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

from serving_ui.catalogue.upstream import Headers, UpstreamRequest
from serving_ui.gateway import outgoing
from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import Connection, Cut, Garbled, UpstreamFault
from serving_ui.gateway.pool import Origin, Owner, Pool
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.gateway.watchdog import RequestWatchdog
from serving_ui.lib.content_coding import Decoder, NotDecodable, decoder
from serving_ui.lib.egress import EgressPolicy
from serving_ui.lib.http_url import HttpUrl

_SWEEP_EVERY = 10.0
_TARGETS_KEPT = 4096
_HEADS_KEPT = 1024
_SETTLE = 0.2
MOST_BYTES = 64 * 1024 * 1024
_SAYS_NOT_WHO = frozenset({"accept", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class _Target:
    origin: Origin
    address: HttpUrl


class Reply:
    """A provider's answer whose status and headers have arrived. `done` must be called, whatever happens.

    A body that is compressed, against our wish, is decompressed while it is read; `is_packed` when that cannot be done.
    """

    __slots__ = ("_connection", "_decoder", "_pool", "_unpacked", "is_packed", "status")

    def __init__(self, connection: Connection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self.status = connection.status
        self.is_packed = False
        self._decoder: Decoder | None = None
        if coding := connection.coding():
            self._unpacked = 0
            try:
                self._decoder = decoder(coding)
            except NotDecodable:
                self.is_packed = True

    @property
    def headers(self) -> dict[str, str]:
        return self._connection.headers

    def is_over(self) -> bool:
        """All of it has been read, so there is nothing to settle."""
        return self._connection.is_read()

    def ends_connection(self) -> bool:
        """The connection ends with it, so the end of its body may be an accident."""
        return not self._connection.keeps

    def arrived(self) -> bytes | None:
        """The body, if all of it is there."""
        if self._decoder is not None or not self._connection.finished:
            return None
        return self._connection.take()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises UpstreamFault when it was cut, is late, or the caller has left."""
        return await (self._connection.read() if self._decoder is None else self._unpack(self._decoder))

    async def body(self, *, most: int = MOST_BYTES) -> bytes:
        """The rest of the body."""
        parts: list[bytes] = []
        size = 0
        while part := await self.read():
            parts.append(part)
            size += len(part)
            if size > most:
                raise _too_long(most)
        return b"".join(parts)

    async def opening(self, *, most: int) -> bytes:
        """The beginning of the body, at most `most` bytes, as far as it comes: enough for an error's words."""
        parts = b""
        try:
            while len(parts) < most and (part := await self.read()):
                parts += part
        except (Cut, Garbled):
            pass
        return parts[:most]

    async def settle(self) -> None:
        """After the last event: wait a moment for the end of the message, so that the connection can be used again."""
        try:
            async with asyncio.timeout(_SETTLE):
                while await self.read():
                    pass
        except (TimeoutError, UpstreamFault):
            pass

    def done(self) -> None:
        self._pool.give(self._connection, now=monotonic())

    async def _unpack(self, decoder: Decoder) -> bytes:
        try:
            while not (piece := decoder.take()):
                portion = await self._connection.read()
                if not portion:
                    if not decoder.is_whole:
                        raise Cut("its compressed answer ended before it was complete")
                    return b""
                decoder.feed(portion)
        except NotDecodable as problem:
            raise Garbled(str(problem)) from problem
        self._unpacked += len(piece)
        if self._unpacked > MOST_BYTES:
            raise _too_long(MOST_BYTES)
        await asyncio.sleep(0)  # a thousand pieces may lie in one portion, and others have their turn
        return piece


class UpstreamClient:
    """Made once per process; `start` and `stop` belong to the event loop that it works in."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self._tls = tls
        self._origins: dict[tuple[bool, str, int], Origin] = {}
        self._targets: dict[str, _Target] = {}
        self._heads: dict[tuple[str, str, Headers], tuple[bytes, Origin, Owner]] = {}
        self.pool = Pool()
        self._sweeper: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Known here, because to ask which one is running is a call of the system each time."""

    def start(self) -> None:
        if self._sweeper is None:
            self.loop = asyncio.get_running_loop()
            self._sweeper = self.loop.call_later(_SWEEP_EVERY, self._sweep)

    def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.pool.close()

    def circuit(self, url: str) -> CircuitBreaker:
        """The circuit of the host that `url` leads to. Raises BadRequest."""
        return (self._targets.get(url) or self._target(url)).origin.circuit

    def circuits(self) -> dict[str, CircuitBreaker]:
        """All of them, by scheme, host and port."""
        return {origin.shown: origin.circuit for origin in self._origins.values()}

    async def send(
        self, request: UpstreamRequest, *, policy: EgressPolicy, watchdog: RequestWatchdog | None = None
    ) -> Reply:
        """Send it; returns when status and headers are there. Raises UpstreamFault or EgressRefused."""
        head, origin, owner = self._head(request)
        body = request.body or b""
        message = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        pool = self.pool
        connection = pool.take(owner, policy=policy, now=monotonic())
        while True:
            is_used = connection is not None
            if connection is None:
                timeouts = self.timeouts if watchdog is None else watchdog.timeouts
                connecting = origin.connect(policy=policy, seconds=timeouts.connect)
                connection = await (connecting if watchdog is None else watchdog.during(connecting))
                connection.origin, connection.owner, connection.policy = origin, owner, policy
            if watchdog is not None:
                watchdog.hold(connection, now=monotonic())
            try:
                connection.begin(message)
                if watchdog is not None:
                    watchdog.was_sent = True
                while not connection.has_head:
                    await connection.more()
                return Reply(connection, pool)
            except Cut:
                # The provider closed an idle connection just as we wrote to it. Only when it is certain that it has
                # read nothing of the request, this is no second request (RFC 9110, 9.2.2).
                if watchdog is not None and connection.was_unread:
                    watchdog.was_sent = False
                if not (is_used and connection.was_unread):
                    raise
                if watchdog is not None:
                    watchdog.repeats += 1
            finally:
                if not connection.has_head:  # cut, late, cancelled: nobody will read this reply
                    connection.close()
            connection = None

    def _head(self, request: UpstreamRequest) -> tuple[bytes, Origin, Owner]:
        """The request's head, made once for all that have the same headers; where it goes; whose connections it may use."""
        key = (request.method, request.url, request.headers)
        known = self._heads.get(key)
        if known is None:
            target = self._targets.get(request.url) or self._target(request.url)
            known = outgoing.head(request, target.address), target.origin, _owner(request, target.origin)
            if request.auth is None:  # a signature is never the same again
                if len(self._heads) >= _HEADS_KEPT:
                    self._heads.clear()
                self._heads[key] = known
        return known

    def _target(self, url: str) -> _Target:
        address = outgoing.address_of(url)
        key = (address.secure, address.host, address.port)
        origin = self._origins.get(key)
        if origin is None:
            tls = self._context() if address.secure else None
            origin = self._origins[key] = Origin(tls=tls, host=address.host, port=address.port)
        if len(self._targets) >= _TARGETS_KEPT:
            self._targets.clear()
        target = self._targets[url] = _Target(origin, address)
        return target

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = outgoing.trust()
        return self._tls

    def _sweep(self) -> None:
        self.pool.sweep(now=monotonic())
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep)


def _owner(request: UpstreamRequest, origin: Origin) -> Owner:
    """The origin with all that can say to a provider who asks: what signs, or a digest of the headers and the address's query."""
    if request.auth is not None:
        return (origin.shown, request.auth)
    headers = sorted(each for each in request.headers if each[0].lower() not in _SAYS_NOT_WHO)
    return sha256(repr((origin.shown, headers, request.url.partition("?")[2])).encode()).digest()


def _too_long(most: int) -> Garbled:
    return Garbled(f"its answer is longer than {most // (1024 * 1024)} MB")
