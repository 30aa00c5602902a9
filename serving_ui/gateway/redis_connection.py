"""One connection to Redis that carries everything: commands go out together, answers come back in order.

What is not needed is not here: every command that is sent answers with one line (a status, a number or an error), so reading
is splitting lines. Admissions of many requests share a write, and a request waits for one round trip. Nothing is sent twice:
a command whose answer did not come may have been carried out.

Why not redis.asyncio, nor the library `limits`: two limits of one request, uvloop, Redis 7 on the other core (November 2026;
`python -m tests.bench.limits` measures the first two again):

                                          one at a time               32 at a time
                                          p50      processor time     admitted    processor time    imports
    this line, one script for both        36 us    20 us              43,900/s     6 us              2 MB
    redis.asyncio 8.1, the same script    87 us    60 us              21,700/s    42 us             14 MB
    limits 5.8, moving window, two hits  166 us   129 us              10,400/s    87 us             26 MB

`limits` also counts each limit by itself (a call that the second one refuses is counted by the first), goes by the clock of
each client, writes one entry for each token (4,000 for a call of 4,000 tokens), and gives nothing back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 0.5
_LONGEST_LINE = 64 * 1024
_PORT = 6379


class RedisUnavailable(Exception):
    """Redis did not answer. The text says how."""


class RedisErrorReply(Exception):
    """Redis answered with an error. The text is its own."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is and who we are there. `str` has no password."""

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
    def greeting(self) -> list[tuple[str, ...]]:
        """What must be said before anything else."""
        who = (self.user, self.password) if self.user else (self.password,)
        return [
            *([("AUTH", *who)] if self.password else []),
            *([("SELECT", str(self.database))] if self.database else []),
            ("CLIENT", "SETNAME", "serving-ui-limits"),
            ("PING",),
        ]


class RedisConnection(asyncio.Protocol):
    """An open connection. When it ends, by whichever side, everything that waits gets RedisUnavailable."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, asyncio.Future[bytes] | None]] = deque()
        self._out: list[bytes] = []
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.is_open = False
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Why it ended, once it has."""

    @classmethod
    async def open(cls, address: RedisAddress) -> RedisConnection:
        """A connection that has answered. Raises RedisUnavailable or RedisErrorReply."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if address.is_encrypted else None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS * 2):
                _, line = await loop.create_connection(cls, address.host, address.port, ssl=context)
        except TimeoutError:
            raise RedisUnavailable(f"Redis at {address} did not answer in time") from None
        except (OSError, UnicodeError) as error:  # the latter for a host name that no resolver takes
            raise RedisUnavailable(f"Redis at {address} cannot be reached: {error}") from error
        try:
            for command in address.greeting:
                await line.ask(encoded(*command))
        except BaseException:
            line.close()
            raise
        return line

    def ask(self, command: bytes) -> asyncio.Future[bytes]:
        """The line that answers, without its mark. Fails with RedisUnavailable or RedisErrorReply."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._send(command, answer)
        return answer

    def tell(self, command: bytes) -> None:
        """Send it and do not wait. If the connection is gone, so is the command."""
        self._send(command, None)

    def close(self, why: str = "the connection was closed") -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not self.ended.done():
            self.ended.set_result(why)
        waiting, self._waiting = self._waiting, deque()
        self._out.clear()
        for _, answer in waiting:
            if answer is not None and not answer.done():
                answer.set_exception(RedisUnavailable(why))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"Redis closed the connection: {exc}" if exc else "Redis closed the connection")

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        if len(self._rest) > _LONGEST_LINE:
            self.close("Redis answers in a way that is not understood")
        for line in lines:
            if not self._waiting:
                self.close("Redis answers what was not asked")
                return
            answer = self._waiting.popleft()[1]
            if answer is None or answer.done():
                continue
            if line[:1] in b"+:" and line:
                answer.set_result(line[1:])
            else:
                answer.set_exception(RedisErrorReply(line[1:].decode("utf-8", "replace")))

    def _send(self, command: bytes, answer: asyncio.Future[bytes] | None) -> None:
        if not self.is_open:
            if answer is not None:
                answer.set_exception(RedisUnavailable("there is no connection to Redis"))
            return
        self._waiting.append((self._loop.time(), answer))
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        if self._watch is None:
            self._watch = self._loop.call_later(TIMEOUT_SECONDS, self._look)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _look(self) -> None:
        """One timer for all that wait: the oldest one is late, or it is looked at again when it would be."""
        self._watch = None
        if not self._waiting:
            return
        due = self._waiting[0][0] + TIMEOUT_SECONDS
        if due <= self._loop.time():
            self.close(f"Redis did not answer within {TIMEOUT_SECONDS:g} s")
        else:
            self._watch = self._loop.call_at(due, self._look)


def encoded(*words: str) -> bytes:
    """A command as Redis reads it."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
