"""One HTTP/1.1 connection to a provider, on httptools' parser. Sends a request, hands out the reply as it arrives.

It knows nothing of hosts, pools or policies. A fault (cut, garbage, deadline, caller gone) closes the connection and is raised
to whoever reads next; a reply that ended early is never mistaken for a whole one.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

_READ_AHEAD = 256 * 1024
_MOST_HEADERS = 64 * 1024


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
    """Whoever asked has left, so the question is withdrawn."""


class Connection(asyncio.Protocol):
    """`begin` once per request; then `head`, then `read` until it gives b""; then `reusable` says what to do with it."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_fault",
        "_fruitless",
        "_head_done",
        "_header_bytes",
        "_keep",
        "_parser",
        "_paused",
        "_size",
        "_transport",
        "_until_eof",
        "_waiter",
        "address",
        "began_at",
        "closed",
        "headers",
        "idle_since",
        "replied",
        "requests",
        "status",
    )  # fmt: skip

    def __init__(self, *, address: str) -> None:
        self.address = address
        self.closed = False
        self.requests = 0
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._complete = True
        self._fault: UpstreamFault | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False

    # What the client calls.

    def begin(self, message: bytes, *, now: float) -> None:
        """Write a whole request. The connection must be idle."""
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.replied = False
        self.began_at = now
        self.requests += 1
        self._head_done = self._complete = self._until_eof = False
        self._header_bytes = self._fruitless = 0
        self._keep = False
        cast(asyncio.Transport, self._transport).write(message)

    async def head(self) -> int:
        """Wait for the status and headers; gives the status."""
        while not self._head_done:
            await self._more()
        return self.status

    async def read(self) -> bytes:
        """The next bytes of the body, as many as are there; b"" at the end."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._more()
        content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return content

    def fail(self, fault: UpstreamFault) -> None:
        """Close at once; whoever waits or reads next gets `fault`. Of several faults the first counts."""
        if not self._complete and self._fault is None:
            self._fault = fault
        self.close()
        self._wake()

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def finished(self) -> bool:
        """The whole reply has arrived."""
        return self._complete

    @property
    def unread(self) -> bool:
        """Some of what has arrived waits to be read."""
        return bool(self._chunks)

    @property
    def reusable(self) -> bool:
        return self._complete and not self.closed and not self._chunks and self._keep

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self.close()  # bytes that nobody asked for: the next reply could not be trusted
            return
        self.replied = True
        self._fruitless += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._complete:
                self.close()  # what follows the reply; the reply itself stands
            else:
                self.fail(self._fault or Garbled("the reply is not proper HTTP"))
        if self._fruitless > _MOST_HEADERS and not self._complete:
            self.fail(Garbled("the reply has too many headers"))  # the parser keeps a line until it ends
        if self._size > _READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._complete:
            if self._head_done and self._until_eof and exc is None and self._fault is None:
                self._complete = True
            elif self._fault is None:
                self._fault = Cut("the connection ended before the reply was complete")
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("A second reply to one request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MOST_HEADERS:
            self._fault = Garbled("the reply has too many headers")
            raise ValueError(self._fault)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._head_done = True
        self._fruitless = 0
        bodiless = self.status in {204, 304}
        self._until_eof = not (
            bodiless
            or "content-length" in self.headers
            or "chunked" in self.headers.get("transfer-encoding", "")
        )
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        self._fruitless = 0
        self._wake()

    def on_message_complete(self) -> None:
        if self.status < 200:  # "100 Continue" and its like are not the reply
            self.headers.clear()
            return
        self._complete = True
        self._keep = self._parser.should_keep_alive()
        self._wake()

    async def _more(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
