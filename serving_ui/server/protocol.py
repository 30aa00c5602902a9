"""HTTP/1.1 on uvicorn's httptools protocol, with faster responses and with deadlines for slow clients.

Response head and body are sent with one system call instead of two: ASGI lets a server hold the head until there is a body. The
second call costs about 8 us on loopback, as much as the gateway's limits and usage records together. Checking all headers at once, reusing one timer for many requests, and
creating an event only for an application that waits in `receive` save another 2 of 9 us.

A client has 30 s for the request head and a minimum speed for the body, and its connection is aborted when it does not read the
response for 300 s; otherwise the socket and its buffers would never be freed. Time in which this process was stopped, or had paused
reading, does not count.

Connections, flow control and shutdown are uvicorn's. There are no WebSockets, no access log and no limit of concurrent requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import select
import time
from collections import deque
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving_ui.lib.request import RequestRefused, target_problem
from serving_ui.server.exchange import Exchange

_log = logging.getLogger("serving_ui.server")
_UNREAD_RESPONSE_SECONDS = 300.0
_HEAD_SECONDS = 30.0  # from the connection, or from the first byte of a request, to the end of its headers
_MIN_BODY_RATE = 1000  # bytes per second, averaged over _BODY_SECONDS
_BODY_SECONDS = 30.0  # the longest pause within a body
_DISCARD_SECONDS = 30.0  # for the rest of a request that was answered before its end
_MAX_DISCARDED_BYTES = 64 * 1024 * 1024
_SUSPENDED_SECONDS = 1.0  # a timer is this late only if the process was stopped or the machine suspended
_MAX_HEADER_BYTES = 64 * 1024
_MAX_CACHED_URL = 256
_WARN_EVERY_SECONDS = 60.0
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CHECKED_HEADERS = frozenset({b"expect", b"transfer-encoding"})
_DISCARD: Any = deque(maxlen=0)  # what is appended is dropped


class AbortingTransport:
    """A transport that is aborted when the client has not read its buffer 300 s after `close`."""

    __slots__ = ("_loop", "_transport", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(_UNREAD_RESPONSE_SECONDS, self._transport.abort)

    def __getattr__(self, name: str) -> Any:
        """All other attributes are those of the wrapped transport."""
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """One connection. uvicorn is configured with this class."""

    # Slots, because attribute access slows down beyond 30 attributes in an instance dict, and uvicorn has 28.
    __slots__ = (
        "_deadline",
        "_discarded_bytes",
        "_in_body",
        "_in_head",
        "_running",
        "_timer",
        "_timer_at",
        "_unparsed_bytes",
        "_unread_timer",
    )
    cycle: Any

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(AbortingTransport(transport, self.loop))  # type: ignore[arg-type]
        self._running: Exchange | None = None
        """The exchange that is being answered; `cycle` is the newest, which may be queued behind it (pipelining)."""
        self._in_head = self._in_body = False
        self._unparsed_bytes = 0
        """Bytes of an incomplete header line, which httptools buffers; limited by _MAX_HEADER_BYTES."""
        self._discarded_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        """Loop time for which the timer was set."""
        self._unread_timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        """Loop time at which the connection is closed unless data arrives; 0 while none is expected: a response is being sent, or
        reading is paused."""
        self._set_deadline(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            self._running.disconnect()
        for timer in (self._timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        # Breaks the reference cycles, which the garbage collector would have to find.
        self._timer = self._unread_timer = self._running = self.cycle = None

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # no other protocol is supported; the request was answered as usual
        except httptools.HttpParserError:
            self._refuse("This is not a valid HTTP request.", len(data))
            return
        if self._unparsed_bytes > _MAX_HEADER_BYTES:
            self._refuse(f"The head of the request is longer than {_MAX_HEADER_BYTES // 1024} kB.", len(data))
        elif self._in_body and self._deadline:
            paused = self.flow.read_paused  # by this server, so the client is not to blame
            self._deadline = 0.0 if paused else min(self._deadline, self.loop.time() + _BODY_SECONDS)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = True
        if self._deadline:
            self._deadline = self.loop.time() + _HEAD_SECONDS

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _CHECKED_HEADERS:
            self._check_header(name, value.lower())
        self.headers.append((name, value))

    def _check_header(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = value == b"100-continue"
        elif value != b"chunked" or self.parser.get_http_version() == "1.0":
            # Other codings are not decoded here, and an HTTP/1.0 proxy may have forwarded the header without processing it.
            raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        self._in_head, self._in_body = False, True
        version = self.parser.get_http_version()
        url = self.url
        read = _read_url if len(url) <= _MAX_CACHED_URL else _read_url.__wrapped__
        path, raw_path, query, refusal = read(url)
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
        }
        self.scope = scope
        self.headers = _DISCARD  # later headers are trailers, which are ignored
        if refusal is not None:
            scope["refusal"] = refusal  # the application answers, in the format of the path
        before = self.cycle
        self.cycle = exchange = Exchange(self, self._can_keep_alive(version))
        if before is None or before.response_complete:
            self._deadline = math.inf  # until it is known whether a body follows: see `data_received`
            self._begin(exchange)
        else:  # pipelined: sent before the previous response was complete
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        exchange = self.cycle
        if not exchange.response_complete:
            self._deadline += len(body) / _MIN_BODY_RATE if self._deadline else 0.0
            exchange.receive_body(body)
        else:
            self._discard(len(body))

    def on_message_complete(self) -> None:
        self._in_body = False
        exchange = self.cycle
        if not exchange.response_complete:
            self._deadline = 0.0
            exchange.receive_end()
        elif exchange.keep_alive:  # the response was complete before the request
            self._set_deadline(self.timeout_keep_alive)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        answered: Any = self._running
        if self._in_body and self.cycle is answered:
            # Closing now would send a TCP reset, and a client that is still sending would not receive the response.
            if not answered.keep_alive and self.transport.can_write_eof():
                self.transport.write_eof()
            self._discarded_bytes = 0
            self.flow.resume_reading()
            self._set_deadline(_DISCARD_SECONDS)
        elif not answered.keep_alive:
            self.transport.close()
        elif self.pipeline:
            exchange: Any = self.pipeline.pop()[0]
            self._begin(exchange)
            self.read_on()
        else:
            self.flow.resume_reading()
            self._set_deadline(_HEAD_SECONDS if self._in_head else self.timeout_keep_alive)

    def read_on(self) -> None:
        """The application wants more of the body. The time in which reading was paused does not count."""
        self.flow.resume_reading()
        if self._in_body and self.cycle is self._running:
            self._set_deadline(_BODY_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(_UNREAD_RESPONSE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _begin(self, exchange: Exchange) -> None:
        if self.transport.is_closing():
            return
        # asyncio would generate a name for each task, which takes longer than everything else here.
        task = asyncio.Task(exchange.run(self.app, self.tasks.discard), loop=self.loop, name="request")
        self._running = exchange
        exchange.task = task
        self.tasks.add(task)

    def _can_keep_alive(self, version: str) -> bool:
        """False after HTTP/1.0, `Connection: close` or an `Upgrade` header."""
        parser = self.parser
        return version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade()

    def _set_deadline(self, seconds: float) -> None:
        """Expect data within so many seconds. The timer is not reset each time: it checks the deadline now and then."""
        self._deadline = self.loop.time() + seconds
        if self._timer is None:
            self._set_timer(self.timeout_keep_alive)

    def _set_timer(self, seconds: float) -> None:
        self._timer_at = self.loop.time() + seconds
        self._timer = self.loop.call_later(seconds, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._deadline or self.transport.is_closing():
            return  # the timer is set again when the response is complete
        now = self.loop.time()
        late = now - self._timer_at
        if late > _SUSPENDED_SECONDS:  # at most the time since the timer was set
            self._deadline += late + self.timeout_keep_alive
        if self._deadline <= now and self._has_unread():
            self._deadline = now + 1.0
        if self._deadline > now:
            self._set_timer(min(self._deadline - now, self.timeout_keep_alive))
            return
        if self._in_head or self._in_body:
            _warn_of_slow_client(self.client)
        self.transport.close()

    def _has_unread(self) -> bool:
        """Whether the socket has data to read: after a suspension, timers may run before reads."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > _MAX_DISCARDED_BYTES:
            self.transport.close()

    def _refuse(self, sentence: str, size: int) -> None:
        """Answer 400, and read on for a while, so that the client receives the response before the connection is reset."""
        if self.transport.is_closing():
            return
        if self.parser is _REJECTING:
            self._discard(size)
            return
        self.parser = _REJECTING
        running = self._running
        if running is not None and not running.response_complete:
            if running.started or self.cycle is not running or not self._in_body:
                self.transport.close()  # another response is being sent
                return
            running.disconnect()
        content = json.dumps({"error_code": "BAD_REQUEST", "message": sentence}).encode()
        self.transport.write(_REFUSAL % (len(content), content))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_deadline(_DISCARD_SECONDS)


class _RejectingParser:
    """Replaces the parser after a parse error: rejects all further data."""

    def feed_data(self, _data: bytes) -> None:
        raise httptools.HttpParserError


_REJECTING: Any = _RejectingParser()
_REFUSAL = (
    STATUS_LINE[400] + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)
_warned_at = -_WARN_EVERY_SECONDS


def _warn_of_slow_client(client: Any) -> None:
    global _warned_at  # noqa: PLW0603 (of the whole process)
    if time.monotonic() - _warned_at > _WARN_EVERY_SECONDS:
        _warned_at = time.monotonic()
        _log.warning(
            "A request of %s arrived too slowly, so its connection was closed. This is logged at most once a minute.",
            client[0] if client else "an unknown client",
        )


@lru_cache(maxsize=1024)
def _read_url(url: bytes) -> tuple[str, bytes, bytes, RequestRefused | None]:
    """Decoded path, raw path, query, and the reason if they are refused. Cached, because most clients repeat one URL."""
    parts = httptools.parse_url(url)
    path, query = unquote(parts.path.decode("ascii")), parts.query or b""
    return path, parts.path, query, target_problem(path=path, query=query, size=len(url))
