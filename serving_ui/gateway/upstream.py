"""The HTTP client with which every query is sent to its provider. Follows no redirect, reads no proxy from the environment.

Why our own HTTP/1.1 client, on asyncio and httptools' parser (the one that uvicorn uses), and no library. A bare proxy behind
uvicorn (uvloop, httptools) on one core, nginx and wrk on the other; requests/s with 32 connections, median with one, processor
time of a request:

    this one   20,200   0.11 ms   43 us
    pyreqwest  20,900   0.13      50
    aiohttp    11,600   0.18     102
    httpx       1,290   0.58     910
    (none      48,350   0.05      25   the same server with nothing behind it; nginx as the proxy: 79,000 and 0.11 ms)

Only pyreqwest and aiohttp come near. pyreqwest 0.15 continues a request after its task was cancelled, until the provider answers
(measured: the socket stays open), and takes one fixed address per client; aiohttp can check addresses in a resolver but is half as
fast. Here the address that the egress policy has checked is the address that is connected to, a disconnected caller or a deadline
closes the socket at once, and a reply that was cut is never taken for a complete one. tests/bench/http_servers.py measures this again.
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
from serving_ui.gateway.connection import Connection, ConnectionCut, MalformedReply, UpstreamFault
from serving_ui.gateway.pool import Origin, Pool, PoolKey
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.gateway.watchdog import RequestWatchdog
from serving_ui.lib.content_coding import Decoder, NotDecodable, decoder
from serving_ui.lib.egress import EgressPolicy
from serving_ui.lib.http_url import HttpUrl

_SWEEP_SECONDS = 10.0
_MAX_TARGETS_CACHED = 4096
_MAX_HEADS_CACHED = 1024
_DRAIN_SECONDS = 0.2
MAX_BYTES = 64 * 1024 * 1024
_SHAREABLE_HEADERS = frozenset({"accept", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class _Target:
    origin: Origin
    address: HttpUrl


class Reply:
    """A provider's reply whose status and headers have arrived. Call `release` in every case.

    A body that is compressed although the request forbids it is decompressed while it is read; `is_undecodable` if that is impossible.
    """

    __slots__ = ("_connection", "_decoded_bytes", "_decoder", "_pool", "is_undecodable", "status")

    def __init__(self, connection: Connection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self.status = connection.status
        self.is_undecodable = False
        self._decoder: Decoder | None = None
        if coding := connection.content_encoding():
            self._decoded_bytes = 0
            try:
                self._decoder = decoder(coding)
            except NotDecodable:
                self.is_undecodable = True

    @property
    def headers(self) -> dict[str, str]:
        return self._connection.headers

    def is_read(self) -> bool:
        """The whole body has been read, so there is nothing to drain."""
        return self._connection.is_read()

    def closes_connection(self) -> bool:
        """The connection ends with the reply, so the end of the body may be that of a cut connection."""
        return not self._connection.keep_alive

    def body_if_complete(self) -> bytes | None:
        """The body if it has arrived completely, else None."""
        if self._decoder is not None or not self._connection.is_complete:
            return None
        return self._connection.take_body()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises UpstreamFault: cut, timed out, or the caller disconnected."""
        return await (self._connection.read() if self._decoder is None else self._read_decoded(self._decoder))

    async def body(self, *, max_bytes: int = MAX_BYTES) -> bytes:
        """The rest of the body. Raises UpstreamFault, also when it is longer than `max_bytes`."""
        parts: list[bytes] = []
        size = 0
        while part := await self.read():
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise _too_long(max_bytes)
        return b"".join(parts)

    async def read_start(self, *, max_bytes: int) -> bytes:
        """The start of the body, at most `max_bytes` bytes; shorter if the connection is cut. For the message of an error."""
        parts = b""
        try:
            while len(parts) < max_bytes and (part := await self.read()):
                parts += part
        except (ConnectionCut, MalformedReply):
            pass
        return parts[:max_bytes]

    async def drain(self) -> None:
        """Wait up to _DRAIN_SECONDS for the end of the body after its last event, so that the connection can be reused."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self.read():
                    pass
        except (TimeoutError, UpstreamFault):
            pass

    def release(self) -> None:
        self._pool.release(self._connection, now=monotonic())

    async def _read_decoded(self, decoder: Decoder) -> bytes:
        try:
            while not (piece := decoder.take()):
                portion = await self._connection.read()
                if not portion:
                    if not decoder.is_complete:
                        raise ConnectionCut("its compressed answer ended before it was complete")
                    return b""
                decoder.feed(portion)
        except NotDecodable as problem:
            raise MalformedReply(str(problem)) from problem
        self._decoded_bytes += len(piece)
        if self._decoded_bytes > MAX_BYTES:
            raise _too_long(MAX_BYTES)
        await asyncio.sleep(
            0
        )  # one portion may decompress to a thousand pieces; other requests run in between
        return piece


class UpstreamClient:
    """One per process. Call `start` and `stop` in the event loop that it works in."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self._tls = tls
        self._origins: dict[tuple[bool, str, int], Origin] = {}
        self._targets: dict[str, _Target] = {}
        self._heads: dict[tuple[str, str, Headers], tuple[bytes, Origin, PoolKey]] = {}
        self.pool = Pool()
        self._sweeper: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Stored, because asyncio.get_running_loop() makes a system call (getpid) each time."""

    def start(self) -> None:
        if self._sweeper is None:
            self.loop = asyncio.get_running_loop()
            self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.pool.close()

    def circuit(self, url: str) -> CircuitBreaker:
        """The circuit breaker of the host of `url`. Raises InvalidUpstreamRequest."""
        return (self._targets.get(url) or self._target(url)).origin.circuit

    def circuits(self) -> dict[str, CircuitBreaker]:
        """The circuit breakers by the URL of their origin."""
        return {origin.url: origin.circuit for origin in self._origins.values()}

    async def send(
        self, request: UpstreamRequest, *, policy: EgressPolicy, watchdog: RequestWatchdog | None = None
    ) -> Reply:
        """Send a request; returns when status and headers have arrived. Raises UpstreamFault or EgressRefused."""
        head, origin, key = self._head(request)
        body = request.body or b""
        message = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        pool = self.pool
        connection = pool.acquire(key, policy=policy, now=monotonic())
        while True:
            is_used = connection is not None
            if connection is None:
                timeouts = self.timeouts if watchdog is None else watchdog.timeouts
                connecting = origin.connect(policy=policy, seconds=timeouts.connect)
                connection = await (connecting if watchdog is None else watchdog.run(connecting))
                connection.origin, connection.pool_key, connection.policy = origin, key, policy
            if watchdog is not None:
                watchdog.watch(connection, now=monotonic())
            try:
                connection.send_request(message)
                if watchdog is not None:
                    watchdog.was_sent = True
                while not connection.has_head:
                    await connection.wait()
                return Reply(connection, pool)
            except ConnectionCut:
                # The provider closed an idle connection just as we wrote to it. Sending again is allowed only if it is
                # certain that the provider has read nothing of the request (RFC 9110, 9.2.2).
                if watchdog is not None and connection.closed_unread:
                    watchdog.was_sent = False
                if not (is_used and connection.closed_unread):
                    raise
                if watchdog is not None:
                    watchdog.resends += 1
            finally:
                if not connection.has_head:  # cut, timed out or cancelled: nothing reads this reply
                    connection.close()
            connection = None

    def _head(self, request: UpstreamRequest) -> tuple[bytes, Origin, PoolKey]:
        """(head, origin, pool key) of the request; cached for requests with the same URL and headers."""
        key = (request.method, request.url, request.headers)
        known = self._heads.get(key)
        if known is None:
            target = self._targets.get(request.url) or self._target(request.url)
            known = outgoing.head(request, target.address), target.origin, _pool_key(request, target.origin)
            if request.auth is None:  # a signed request has new headers each time
                if len(self._heads) >= _MAX_HEADS_CACHED:
                    self._heads.clear()
                self._heads[key] = known
        return known

    def _target(self, url: str) -> _Target:
        address = outgoing.address_of(url)
        key = (address.secure, address.host, address.port)
        origin = self._origins.get(key)
        if origin is None:
            tls = self._tls_context() if address.secure else None
            origin = self._origins[key] = Origin(tls=tls, host=address.host, port=address.port)
        if len(self._targets) >= _MAX_TARGETS_CACHED:
            self._targets.clear()
        target = self._targets[url] = _Target(origin, address)
        return target

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = outgoing.tls_context()
        return self._tls

    def _sweep(self) -> None:
        self.pool.sweep(now=monotonic())
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)


def _pool_key(request: UpstreamRequest, origin: Origin) -> PoolKey:
    """The origin with everything that may identify the sender to the provider: `auth`, or a digest of headers and URL query."""
    if request.auth is not None:
        return (origin.url, request.auth)
    headers = sorted(each for each in request.headers if each[0].lower() not in _SHAREABLE_HEADERS)
    return sha256(repr((origin.url, headers, request.url.partition("?")[2])).encode()).digest()


def _too_long(max_bytes: int) -> MalformedReply:
    return MalformedReply(f"its answer is longer than {max_bytes // (1024 * 1024)} MB")
