"""One HTTP/1.1 connection to a provider, on httptools' parser. Sends a request, hands out the reply as it arrives.

It knows nothing of hosts, pools or policies. A fault (cut, garbage, deadline, caller gone) closes the connection and is raised
to whoever reads next; a reply that ended early is never mistaken for a whole one.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from typing import Any, cast

import httptools

_READ_AHEAD = 256 * 1024
_MOST_HEADERS = 64 * 1024
_CODING = b"content-encoding"
_CODING_LENGTH = len(_CODING)
_TOO_MANY = "the reply has too many headers"
# TLS adds some 25 bytes to each 16 kB, which must not look like a part of the request that has not been acknowledged.
_MOST_CERTAIN = 8 * 1024 * 1024


class UpstreamFault(Exception):
    """A provider did not answer, or not properly."""


class NotReached(UpstreamFault):
    """No connection could be made."""


class Cut(UpstreamFault):
    """The connection ended before the reply did."""


class Garbled(UpstreamFault):
    """What came is not HTTP, or more than is taken."""


class Late(UpstreamFault):
    """A deadline passed. The text says which."""


class CallerGone(UpstreamFault):
    """Whoever asked has left, so the request is withdrawn."""


class Connection(asyncio.Protocol):
    """`begin` once per request; `more` until `has_head`; then `read` until it gives b""; then `reusable` says what to do with it."""

    __slots__ = (
        "_chunks",
        "_fault",
        "_fruitless",
        "_length",
        "_loop",
        "_pairs",
        "_parser",
        "_paused",
        "_poll",
        "_size",
        "_transport",
        "_waiter",
        "address",
        "closed",
        "finished",
        "has_head",
        "idle_since",
        "keeps",
        "origin",
        "owner",
        "policy",
        "replied",
        "status",
        "was_unread",
    )  # fmt: skip

    def __init__(self, *, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.address = address
        self.origin: Any = None
        self.owner: Any = None
        """Whose it is: nobody else may use it. `policy` allowed its address. All three are the pool's."""
        self.policy: Any = None
        self.closed = False
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.finished = True
        self._fault: UpstreamFault | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False

    # What the client calls.

    def begin(self, message: bytes) -> None:
        """Write a whole request. The connection must be idle."""
        self.status = 0
        self._pairs: list[tuple[bytes, bytes]] = []
        self.replied = self.was_unread = False
        """`was_unread`: the provider had closed the connection before any of the request reached it."""
        self._length = len(message)
        self.has_head = self.finished = self.keeps = False
        self._fruitless = 0
        cast(asyncio.Transport, self._transport).write(message)

    def is_silent(self) -> bool:
        """Nothing waits in the socket: no end, no late reply. Costs half a microsecond; the event loop may not have looked yet."""
        return not (self.closed or self._poll(0))

    @property
    def headers(self) -> dict[str, str]:
        """By name in small letters; of several with one name the last. Made when somebody asks, which few do."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._pairs}

    def coding(self) -> bytes:
        """How the body is encoded: what `content-encoding` says."""
        said = b""
        for name, value in self._pairs:
            if len(name) == _CODING_LENGTH and name.lower() == _CODING:
                said = said + b"," + value if said else value
        return said

    def more(self) -> asyncio.Future[None]:
        """To be awaited: something has happened. Raises the fault."""
        if self._fault is not None:
            # Another one of its kind: what is raised knows all who wait here, and would keep them if it were kept.
            raise type(self._fault)(*self._fault.args)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def read(self) -> bytes:
        """The next bytes of the body, as many as are there; b"" at the end."""
        while not self._chunks:
            if self.finished:
                return b""
            await self.more()
        return self.take()

    def take(self) -> bytes:
        """What has arrived of the body and was not read yet."""
        if not self._chunks:
            return b""
        content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return content

    def fail(self, fault: UpstreamFault) -> None:
        """Close at once; whoever waits or reads next gets `fault`. Of several faults the first counts."""
        if not self.finished and self._fault is None:
            self._fault = fault
        self.close()
        self._wake()

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def is_read(self) -> bool:
        """The whole reply has arrived, and been read."""
        return self.finished and not self._chunks

    def is_reusable(self) -> bool:
        return self.finished and not self.closed and not self._chunks and self.keeps

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Not before: it knows this connection, and only `connection_lost` parts them.
        self._parser: Any = httptools.HttpResponseParser(self)
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        if self.finished:
            self.close()  # bytes that nobody asked for: the next reply could not be trusted
            return
        self.replied = True
        self._fruitless += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.finished:
                self.close()  # what follows the reply; the reply itself stands
            else:
                self.fail(self._fault or Garbled("the reply is not proper HTTP"))
        if self._fruitless > _MOST_HEADERS and not self.finished:
            self.fail(
                self._fault or Garbled(_TOO_MANY)
            )  # the parser keeps a line until it ends, also behind the body
        if self._size > _READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The provider says that it will send nothing more. The connection is closed then."""
        self.closed = True
        if not (self.finished or self.replied or self._length > _MOST_CERTAIN):
            self.was_unread = self._unacknowledged() >= self._length

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._parser = None  # else neither would go before garbage is looked for
        if not self.finished:
            if self.has_head and self._ends_with_connection and exc is None and self._fault is None:
                self.finished = True
            elif self._fault is None:
                self._fault = Cut("the connection ended before the reply was complete")
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.finished:
            raise ValueError("A second reply to one request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # what comes after the body is none of the reply's
            self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        if (
            self._fruitless > _MOST_HEADERS
            and sum(len(name) + len(value) for name, value in self._pairs) > _MOST_HEADERS
        ):
            self._fault = Garbled(_TOO_MANY)
            raise ValueError(self._fault)
        self.has_head = True
        self._fruitless = 0
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        self._fruitless = 0
        if self._waiter is not None:
            self._wake()

    def on_message_complete(self) -> None:
        if self.status < 200:  # "100 Continue" and its like are not the reply
            self._pairs.clear()
            return
        self.finished = True
        self.keeps = self._parser.should_keep_alive()
        if self._waiter is not None:
            self._wake()

    def _unacknowledged(self) -> int:
        """Bytes that we have sent or will send, and that the other system has not confirmed; 0 where that is not known.

        Its FIN confirms what had reached it when it closed. When that was nothing of a request, nobody there can have read it.
        A reset confirms nothing: it may come from somebody who has read everything.
        """
        if sys.platform != "linux":
            return 0
        transport, queued = cast(asyncio.Transport, self._transport), bytearray(4)
        try:
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        except OSError:
            return 0
        return int.from_bytes(queued, sys.byteorder) + transport.get_write_buffer_size()

    @property
    def _ends_with_connection(self) -> bool:
        """Neither a length nor chunks say where the body ends."""
        headers = self.headers
        return (
            self.status not in {204, 304}
            and "content-length" not in headers
            and "chunked" not in headers.get("transfer-encoding", "").lower()
        )

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
