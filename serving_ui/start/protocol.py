"""HTTP/1.1 for our servers: uvicorn's protocol with an exchange of our own, which answers with one call of the system and not two.

The specification of ASGI lets a server hold the head until there is a body. The second call costs about 8 us on a loopback, as much
as all that the gateway does with limits and records. Another 2 of 9 us are saved by checking headers together and not one by one, by
a timer of the connection that is set now and then and not for each request, and by an event only for those who wait.

A caller has a time for the whole head and a least speed for the body, and is hung up on who does not take an answer: otherwise its
socket, and what waits in it, stay for ever. Time in which this process stood still, or did not read, is not counted.

Whatever is not about one request stays uvicorn's: connections, flow control, the end of the server. There are no WebSockets, no
access log and no limit of concurrent requests.
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
from serving_ui.start.exchange import Exchange

_log = logging.getLogger("serving_ui.start")
_LINGER = 300.0
_HEAD_SECONDS = 30.0  # from the connection, or from the first byte of a request, to the end of its head
_SLOWEST = 1000  # bytes of a body a second, on an average of as long as a caller may be silent in between
_BODY_SECONDS = 30.0
_DRAIN_SECONDS = (
    30.0  # how long the rest of a request is taken, and thrown away, that was answered before its end
)
_MOST_DRAINED = 64 * 1024 * 1024
_STOOD_STILL = (
    1.0  # so much later than it was set a timer rings only if this process was stopped, or its machine asleep
)
_MOST_HEAD = 64 * 1024
_LONGEST_KEPT = 256
_TELL_EVERY = 60.0
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_LOOKED_AT = frozenset({b"expect", b"transfer-encoding"})
_NOWHERE: Any = deque(maxlen=0)


class Lingering:
    """A transport that does not wait for ever, once it is closed, for somebody to take what was written."""

    __slots__ = ("_loop", "_transport", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(_LINGER, self._transport.abort)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """What uvicorn is started with: one connection of a caller."""

    # Slots, because an object with more than 30 attributes of its own is slower in each of them, and uvicorn has 28.
    __slots__ = (
        "_drained",
        "_due",
        "_fruitless",
        "_in_body",
        "_in_head",
        "_rings",
        "_running",
        "_stalled",
        "_timer",
    )
    cycle: Any

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Lingering(transport, self.loop))  # type: ignore[arg-type]
        self._running: Exchange | None = None
        """The one that is answered; `cycle` is the newest, which may still wait for its turn."""
        self._in_head = self._in_body = False
        self._fruitless = 0
        """Bytes of which nothing has come yet: the parser keeps a line of the head until it ends."""
        self._drained = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        """When the timer was to ring."""
        self._stalled: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When it is closed unless something comes; 0 while nothing is to come: an answer is on its way, or reading is paused."""
        self._wait(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            self._running.leave()
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        # Nothing comes any more. What points at each other here would have to be found by the search for garbage.
        self._timer = self._stalled = self._running = self.cycle = None

    def data_received(self, data: bytes) -> None:
        self._fruitless += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # to nothing that is spoken here; the request was answered as any other
        except httptools.HttpParserError:
            self._refuse("This is not a proper HTTP request.", len(data))
            return
        if self._fruitless > _MOST_HEAD:
            self._refuse(f"The head of the request is longer than {_MOST_HEAD // 1024} kB.", len(data))
        elif self._in_body and self._due:
            paused = self.flow.read_paused  # by us, so it is not the caller who is slow
            self._due = 0.0 if paused else min(self._due, self.loop.time() + _BODY_SECONDS)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = True
        if self._due:
            self._due = self.loop.time() + _HEAD_SECONDS

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _LOOKED_AT:
            self._look_at(name, value.lower())
        self.headers.append((name, value))

    def _look_at(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = value == b"100-continue"
        elif value != b"chunked" or self.parser.get_http_version() == "1.0":
            # Nobody here undoes another coding, and what HTTP/1.0 does not know a proxy may have passed on unread.
            raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        self._fruitless = 0
        self._in_head, self._in_body = False, True
        version = self.parser.get_http_version()
        url = self.url
        read = _read_url if len(url) <= _LONGEST_KEPT else _read_url.__wrapped__
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
        self.headers = _NOWHERE  # what comes later as headers are trailers, and those are none
        if refusal is not None:
            scope["refusal"] = refusal  # the application has the words for whoever asks
        before = self.cycle
        self.cycle = exchange = Exchange(self, self._stays(version))
        if before is None or before.response_complete:
            self._due = math.inf  # until it is known whether anything is missing: see `data_received`
            self._begin(exchange)
        else:  # asked before the last answer was complete
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        exchange = self.cycle
        if not exchange.response_complete:
            self._due += len(body) / _SLOWEST if self._due else 0.0
            exchange.take(body)
        else:
            self._drain(len(body))

    def on_message_complete(self) -> None:
        self._in_body = False
        exchange = self.cycle
        if not exchange.response_complete:
            self._due = 0.0
            exchange.take_end()
        elif exchange.keep_alive:  # the answer did not wait for the end of the request
            self._wait(self.timeout_keep_alive)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        answered: Any = self._running
        if self._in_body and self.cycle is answered:
            # To close now would send a reset, and a caller who is still sending would not see the answer.
            if not answered.keep_alive and self.transport.can_write_eof():
                self.transport.write_eof()
            self._drained = 0
            self.flow.resume_reading()
            self._wait(_DRAIN_SECONDS)
        elif not answered.keep_alive:
            self.transport.close()
        elif self.pipeline:
            exchange: Any = self.pipeline.pop()[0]
            self._begin(exchange)
            self.read_on()
        else:
            self.flow.resume_reading()
            self._wait(_HEAD_SECONDS if self._in_head else self.timeout_keep_alive)

    def read_on(self) -> None:
        """Whoever answers wants more of the request. What was not read until now was no fault of the caller."""
        self.flow.resume_reading()
        if self._in_body and self.cycle is self._running:
            self._wait(_BODY_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(_LINGER, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _begin(self, exchange: Exchange) -> None:
        if self.transport.is_closing():
            return
        # With a name, as making one up for each takes longer than all else here.
        task = asyncio.Task(exchange.run(self.app, self.tasks.discard), loop=self.loop, name="request")
        self._running = exchange
        exchange.task = task
        self.tasks.add(task)

    def _stays(self, version: str) -> bool:
        """Whether the connection may be used again: not after a word of what other protocol could follow."""
        parser = self.parser
        return version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade()

    def _wait(self, seconds: float) -> None:
        """For something to come. The timer is not set each time: it looks now and then."""
        self._due = self.loop.time() + seconds
        if self._timer is None:
            self._set_timer(self.timeout_keep_alive)

    def _set_timer(self, seconds: float) -> None:
        self._rings = self.loop.time() + seconds
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._due or self.transport.is_closing():
            return  # when the answer is complete the timer is set again
        now = self.loop.time()
        late = now - self._rings
        if late > _STOOD_STILL:  # for no longer than since the timer was set
            self._due += late + self.timeout_keep_alive
        if self._due <= now and self._has_unread():
            self._due = now + 1.0
        if self._due > now:
            self._set_timer(min(self._due - now, self.timeout_keep_alive))
            return
        if self._in_head or self._in_body:
            _tell_of_slow_callers(self.client)
        self.transport.close()

    def _has_unread(self) -> bool:
        """Whether something has come that was not read yet: timers may ring first when this process could not run for a while."""
        looking = select.poll()
        looking.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(looking.poll(0))

    def _drain(self, size: int) -> None:
        self._drained += size
        if self._drained > _MOST_DRAINED:
            self.transport.close()

    def _refuse(self, sentence: str, size: int) -> None:
        """Answers what cannot be read, and takes some more of it, so that the caller sees the answer before the end."""
        if self.transport.is_closing():
            return
        if self.parser is _DEAF:
            self._drain(size)
            return
        self.parser = _DEAF
        running = self._running
        if running is not None and not running.response_complete:
            if running.started or self.cycle is not running or not self._in_body:
                self.transport.close()  # an answer is on its way, and this is no part of it
                return
            running.leave()
        content = json.dumps({"error_code": "BAD_REQUEST", "message": sentence}).encode()
        self.transport.write(_REFUSAL % (len(content), content))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(_DRAIN_SECONDS)


class _Deaf:
    """In the place of a parser, once nothing of the connection is understood any more."""

    def feed_data(self, _data: bytes) -> None:
        raise httptools.HttpParserError


_DEAF: Any = _Deaf()
_REFUSAL = (
    STATUS_LINE[400] + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)
_told = -_TELL_EVERY


def _tell_of_slow_callers(caller: Any) -> None:
    global _told  # noqa: PLW0603 (of the whole process)
    if time.monotonic() - _told > _TELL_EVERY:
        _told = time.monotonic()
        _log.warning(
            "A request of %s came too slowly and was cut off. This is said at most once a minute.",
            caller[0] if caller else "somebody",
        )


@lru_cache(maxsize=1024)
def _read_url(url: bytes) -> tuple[str, bytes, bytes, RequestRefused | None]:
    """Path, the same as it came, query, and why nobody takes them. Most callers ask for one address again and again."""
    parts = httptools.parse_url(url)
    path, query = unquote(parts.path.decode("ascii")), parts.query or b""
    return path, parts.path, query, target_problem(path=path, query=query, size=len(url))
