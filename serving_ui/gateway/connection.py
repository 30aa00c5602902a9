"""One HTTP/1.1 connection to a provider, as an asyncio protocol on httptools' parser: sends a request, returns the reply as it arrives.

Knows nothing of hosts, pools or policies. A fault (cut connection, malformed reply, timeout, caller disconnected) closes the
connection and is raised at the next read; a reply that ended early is never taken for a complete one.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from typing import Any, cast

import httptools

_READ_AHEAD_BYTES = 256 * 1024
_MAX_HEADER_BYTES = 64 * 1024
_ENCODING = b"content-encoding"
_ENCODING_LENGTH = len(_ENCODING)
_TOO_MANY_HEADERS = "the reply has too many headers"
# The longest request for which `closed_unread` is determined: TLS adds some 25 bytes to each 16 kB, and the bytes that the kernel
# reports as unacknowledged must not exceed the request because of them.
_MAX_CHECKED_REQUEST_BYTES = 8 * 1024 * 1024


class UpstreamFault(Exception):
    """The provider gave no usable reply. The message completes a sentence about the provider."""


class ConnectFailed(UpstreamFault):
    """No connection could be made."""


class ConnectionCut(UpstreamFault):
    """The connection ended before the reply did."""


class MalformedReply(UpstreamFault):
    """The reply is not valid HTTP, or larger than the gateway accepts."""


class TimedOut(UpstreamFault):
    """A deadline passed. The message says which."""


class CallerDisconnected(UpstreamFault):
    """The caller closed its connection, so the upstream request was cancelled."""


class Connection(asyncio.Protocol):
    """Per request: `send_request`; await `wait()` until `has_head`; `read` until it returns b""; then see `is_reusable`."""

    __slots__ = (
        "_body_bytes",
        "_chunks",
        "_fault",
        "_loop",
        "_parser",
        "_paused",
        "_poll",
        "_raw_headers",
        "_request_bytes",
        "_transport",
        "_unparsed_bytes",
        "_waiter",
        "address",
        "closed_unread",
        "has_head",
        "has_received",
        "idle_since",
        "is_closed",
        "is_complete",
        "keep_alive",
        "origin",
        "policy",
        "pool_key",
        "status",
    )  # fmt: skip

    def __init__(self, *, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.address = address
        self.origin: Any = None
        self.pool_key: Any = None
        """`origin`, `pool_key` and `policy` (which allowed `address`) are set and read by the pool."""
        self.policy: Any = None
        self.is_closed = False
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_complete = True
        self._fault: UpstreamFault | None = None
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._paused = False

    # Called by the client.

    def send_request(self, message: bytes) -> None:
        """Write a complete request. The connection must be idle."""
        self.status = 0
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self.has_received = self.closed_unread = False
        """`closed_unread`: the provider closed the connection before any byte of the request reached it."""
        self._request_bytes = len(message)
        self.has_head = self.is_complete = self.keep_alive = False
        self._unparsed_bytes = 0
        """Bytes of an incomplete line of headers or trailers, which httptools buffers; limited by _MAX_HEADER_BYTES."""
        cast(asyncio.Transport, self._transport).write(message)

    def is_stale(self) -> bool:
        """Whether an idle connection was closed or has data to read (a late reply). Polls the socket (0.5 us): the event loop may be
        behind."""
        return self.is_closed or bool(self._poll(0))

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; the last one of several with the same name. Built at each access, which is rare."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._raw_headers}

    def content_encoding(self) -> bytes:
        """The value of `content-encoding`; b"" without one."""
        encoding = b""
        for name, value in self._raw_headers:
            if len(name) == _ENCODING_LENGTH and name.lower() == _ENCODING:
                encoding = encoding + b"," + value if encoding else value
        return encoding

    def wait(self) -> asyncio.Future[None]:
        """A future that is done when more has arrived. Raises the fault of the connection."""
        if self._fault is not None:
            # A copy: a raised exception refers to the frames of its callers, and the stored one would keep them alive.
            raise type(self._fault)(*self._fault.args)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def read(self) -> bytes:
        """The next bytes of the body; b"" at its end."""
        while not self._chunks:
            if self.is_complete:
                return b""
            await self.wait()
        return self.take_body()

    def take_body(self) -> bytes:
        """The bytes of the body that have arrived and were not read yet."""
        if not self._chunks:
            return b""
        content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._body_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return content

    def fail(self, fault: UpstreamFault) -> None:
        """Close at once and raise `fault` at the next wait or read. Of several faults the first counts."""
        if not self.is_complete and self._fault is None:
            self._fault = fault
        self.close()
        self._wake()

    def close(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    def is_read(self) -> bool:
        """The reply has arrived completely and has been read."""
        return self.is_complete and not self._chunks

    def is_reusable(self) -> bool:
        return self.is_complete and not self.is_closed and not self._chunks and self.keep_alive

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Not before there is a transport: parser and connection refer to each other until `connection_lost`.
        self._parser: Any = httptools.HttpResponseParser(self)
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        if self.is_complete:
            self.close()  # bytes that belong to no request: the next reply could not be trusted
            return
        self.has_received = True
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.is_complete:
                self.close()  # garbage after the reply, which itself is valid
            else:
                self.fail(self._fault or MalformedReply("the reply is not proper HTTP"))
        # httptools buffers an incomplete line, also one of the trailers after the body.
        if self._unparsed_bytes > _MAX_HEADER_BYTES and not self.is_complete:
            self.fail(self._fault or MalformedReply(_TOO_MANY_HEADERS))
        if self._body_bytes > _READ_AHEAD_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The provider will send nothing more. asyncio closes the connection."""
        self.is_closed = True
        if not (self.is_complete or self.has_received or self._request_bytes > _MAX_CHECKED_REQUEST_BYTES):
            self.closed_unread = self._unacknowledged() >= self._request_bytes

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self._parser = None  # breaks the reference cycle
        if not self.is_complete:
            if self.has_head and self._ends_with_connection and exc is None and self._fault is None:
                self.is_complete = True
            elif self._fault is None:
                self._fault = ConnectionCut("the connection ended before the reply was complete")
        self._wake()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("A second reply to one request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # not a trailer
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        if (
            self._unparsed_bytes > _MAX_HEADER_BYTES
            and sum(len(name) + len(value) for name, value in self._raw_headers) > _MAX_HEADER_BYTES
        ):
            self._fault = MalformedReply(_TOO_MANY_HEADERS)
            raise ValueError(self._fault)
        self.has_head = True
        self._unparsed_bytes = 0
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._body_bytes += len(body)
        self._unparsed_bytes = 0
        if self._waiter is not None:
            self._wake()

    def on_message_complete(self) -> None:
        if self.status < 200:  # an interim response such as 100 Continue
            self._raw_headers.clear()
            return
        self.is_complete = True
        self.keep_alive = self._parser.should_keep_alive()
        if self._waiter is not None:
            self._wake()

    def _unacknowledged(self) -> int:
        """Bytes written to the connection that the provider's system has not acknowledged (SIOCOUTQ); 0 where that is unknown.

        A FIN acknowledges what had arrived when the provider closed. If that is no byte of a request, the provider cannot have
        read the request. A reset acknowledges nothing: it may come from a provider that has read everything.
        """
        if sys.platform != "linux":
            return 0
        transport, unacknowledged = cast(asyncio.Transport, self._transport), bytearray(4)
        try:
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, unacknowledged)
        except OSError:
            return 0
        return int.from_bytes(unacknowledged, sys.byteorder) + transport.get_write_buffer_size()

    @property
    def _ends_with_connection(self) -> bool:
        """The body has neither a length nor chunks, so the end of the connection is its end."""
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
