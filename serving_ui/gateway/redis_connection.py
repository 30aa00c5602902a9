"""One pipelined connection to Redis: commands of many requests share a write, and replies are matched in order.

Supports only commands that answer with one line (status, integer or error), so that parsing is splitting lines. A command is
never sent twice: one whose reply did not come may have been executed.

Why not redis.asyncio or the library `limits`: two limits of one request, uvloop, Redis 7 on the other core (November 2026;
`python -m tests.bench.redis_limits` measures the first two again):

                                          one at a time               32 at a time
                                          p50      processor time     admitted    processor time    imports
    this module, one script for both      36 us    20 us              43,900/s     6 us              2 MB
    redis.asyncio 8.1, the same script    87 us    60 us              21,700/s    42 us             14 MB
    limits 5.8, moving window, two hits  166 us   129 us              10,400/s    87 us             26 MB

`limits` also counts each limit by itself (a call that the second limit refuses is counted by the first), uses each client's
clock, writes one entry per token (4,000 for a call of 4,000 tokens), and cannot give back what was reserved.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 0.5
_MAX_LINE_BYTES = 64 * 1024
_PORT = 6379


class RedisUnavailable(Exception):
    """Redis did not answer. The message says why."""


class RedisErrorReply(Exception):
    """Redis answered with an error. The message is that of Redis."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Host and credentials of a Redis server. `str` leaves out the credentials."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    database: int = 0
    is_encrypted: bool = False

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """From `redis://[user:password@]host[:port][/database]`, or `rediss://…`. Raises ValueError with a sentence."""
        parts = urlsplit(url)
        number = parts.path.strip("/")
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or not (number or "0").isdigit():
            raise ValueError(
                "Use an address such as redis://127.0.0.1:6379/0, or rediss:// for an encrypted one."
            )
        return cls(
            host=parts.hostname,
            port=parts.port or _PORT,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(number or 0),
            is_encrypted=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def handshake(self) -> list[tuple[str, ...]]:
        """The commands to send first on a new connection."""
        credentials = (self.user, self.password) if self.user else (self.password,)
        return [
            *([("AUTH", *credentials)] if self.password else []),
            *([("SELECT", str(self.database))] if self.database else []),
            ("CLIENT", "SETNAME", "serving-ui-limits"),
            ("PING",),
        ]


class RedisConnection(asyncio.Protocol):
    """An open connection. When either side closes it, every pending call fails with RedisUnavailable."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[float, asyncio.Future[bytes] | None]] = deque()
        """(when it was sent, future of its reply) of each command without a reply yet; no future for `send`."""
        self._unsent: list[bytes] = []
        self._partial_line = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = False
        self.closed: asyncio.Future[str] = self._loop.create_future()
        """The reason, once the connection is closed."""

    @classmethod
    async def open(cls, address: RedisAddress) -> RedisConnection:
        """Connect and authenticate. Raises RedisUnavailable or RedisErrorReply."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if address.is_encrypted else None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS * 2):
                _, connection = await loop.create_connection(cls, address.host, address.port, ssl=context)
        except TimeoutError:
            raise RedisUnavailable(f"Redis at {address} did not answer in time") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be encoded
            raise RedisUnavailable(f"Redis at {address} cannot be reached: {error}") from error
        try:
            for command in address.handshake:
                await connection.call(encode_command(*command))
        except BaseException:
            connection.close()
            raise
        return connection

    def call(self, command: bytes) -> asyncio.Future[bytes]:
        """The reply line without its type byte. Fails with RedisUnavailable or RedisErrorReply."""
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._enqueue(command, reply)
        return reply

    def send(self, command: bytes) -> None:
        """Send without waiting for the reply. Does nothing when the connection is closed."""
        self._enqueue(command, None)

    def close(self, reason: str = "the connection was closed") -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.closed.done():
            self.closed.set_result(reason)
        pending, self._pending = self._pending, deque()
        self._unsent.clear()
        for _, reply in pending:
            if reply is not None and not reply.done():
                reply.set_exception(RedisUnavailable(reason))

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"Redis closed the connection: {exc}" if exc else "Redis closed the connection")

    def data_received(self, data: bytes) -> None:
        *lines, self._partial_line = (self._partial_line + data).split(b"\r\n")
        if len(self._partial_line) > _MAX_LINE_BYTES:
            self.close("Redis sent an invalid reply")
        for line in lines:
            if not self._pending:
                self.close("Redis sent a reply without a command")
                return
            reply = self._pending.popleft()[1]
            if reply is None or reply.done():
                continue
            if line[:1] in b"+:" and line:
                reply.set_result(line[1:])
            else:
                reply.set_exception(RedisErrorReply(line[1:].decode("utf-8", "replace")))

    # Sending.

    def _enqueue(self, command: bytes, reply: asyncio.Future[bytes] | None) -> None:
        if not self.is_open:
            if reply is not None:
                reply.set_exception(RedisUnavailable("there is no connection to Redis"))
            return
        self._pending.append((self._loop.time(), reply))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        if self._timer is None:
            self._timer = self._loop.call_later(TIMEOUT_SECONDS, self._check_deadline)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def _check_deadline(self) -> None:
        """One timer for all pending commands: it follows the oldest, and closes the connection when that is late."""
        self._timer = None
        if not self._pending:
            return
        due = self._pending[0][0] + TIMEOUT_SECONDS
        if due <= self._loop.time():
            self.close(f"Redis did not answer within {TIMEOUT_SECONDS:g} s")
        else:
            self._timer = self._loop.call_at(due, self._check_deadline)


def encode_command(*words: str) -> bytes:
    """A command in the Redis protocol (RESP): an array of bulk strings."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
