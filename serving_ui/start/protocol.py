"""HTTP/1.1 for our servers: uvicorn's protocol with an exchange of our own, which answers with one call of the system and not two.

The specification of ASGI lets a server hold the head until there is a body. The second call costs about 8 us on a loopback, as much
as all that the gateway does with limits and records. Another 2 of 9 us are saved by checking headers together and not one by one, by
a timer of the connection that is set now and then and not for each request, and by an event only for those who wait.

Who does not take the end of an answer, or does not end a request, is hung up on after a while: otherwise its socket, and what waits
in it, stay for ever.

Whatever is not about one request stays uvicorn's: connections, flow control, bad requests, the end of the server. There are no
WebSockets, no access log and no limit of concurrent requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_log = logging.getLogger("serving_ui.start")
_LINGER = 300.0
_SILENCE = 60.0  # so long a caller may say nothing who has connected, or begun a request
_MOST_HEAD = 64 * 1024
_OF_THE_SERVER = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_WITHOUT_BODY = frozenset({204, 304})
_FAILED = b'{"error_code":"INTERNAL_ERROR","message":"The server failed. Its log has the reason."}'

Message = dict[str, Any]


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

    _due = 0.0
    """When it is closed unless something happens; 0 while an answer is on its way."""
    _timer: asyncio.TimerHandle | None = None
    _running: Exchange | None = None
    """The one that is answered; `cycle` is the newest, which may still wait for its turn."""
    _fruitless = 0
    """Bytes of which nothing has come yet: the parser keeps a line of the head until it ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Lingering(transport, self.loop))  # type: ignore[arg-type]
        self._wait(_SILENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            self._running.leave()
        if self._timer is not None:
            self._timer.cancel()
        # Nothing comes any more. What points at each other here would have to be found by the search for garbage.
        self._timer = self._running = self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._due = self.loop.time() + _SILENCE
        self._fruitless += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # to nothing that is spoken here; the request was answered as any other
        except httptools.HttpParserError:
            self.send_400_response("This is not a proper HTTP request.")
        else:
            if self._fruitless > _MOST_HEAD and not self.transport.is_closing():
                self.send_400_response(f"The head of the request is longer than {_MOST_HEAD // 1024} kB.")

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
        }
        self.scope = scope

    def on_headers_complete(self) -> None:
        self._fruitless = 0
        scope: Any = self.scope
        version = self.parser.get_http_version()
        scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"], scope["raw_path"], scope["query_string"] = _read_url(self.url)
        before: Any = self.cycle
        self.cycle = exchange = Exchange(self, self._stays(version))  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._begin(exchange)
        else:  # asked before the last answer was complete
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        exchange: Any = self.cycle
        if not exchange.response_complete:
            exchange.take(body)

    def on_message_complete(self) -> None:
        exchange: Any = self.cycle
        if exchange.response_complete:  # the answer did not wait for the end of the request
            self._wait(self.timeout_keep_alive)
        else:
            self._due = 0.0
            exchange.take_end()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            exchange: Any = self.pipeline.pop()[0]
            self._begin(exchange)
            return
        self._wait(self.timeout_keep_alive)

    def _begin(self, exchange: Exchange) -> None:
        task = self.loop.create_task(exchange.run(self.app, self.tasks.discard))
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
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._due or self.transport.is_closing():
            return  # when the answer is complete the timer is set again
        left = self._due - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(min(left, self.timeout_keep_alive), self._look)
        else:
            self.transport.close()


@lru_cache(maxsize=1024)
def _read_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the same as it came, query. Most callers ask for one address again and again."""
    parts = httptools.parse_url(url)
    path = parts.path.decode("ascii")
    return unquote(path) if "%" in path else path, parts.path, parts.query or b""


class Exchange:
    """One request and its answer, as ASGI has them. uvicorn calls it a cycle and looks at some of its names."""

    __slots__ = (
        "_body",
        "_connection",
        "_event",
        "_flow",
        "_has_body",
        "_has_news",
        "_head",
        "_is_chunked",
        "_left",
        "_more",
        "_scope",
        "_started",
        "_transport",
        "_waits_for_leave",
        "disconnected",
        "keep_alive",
        "response_complete",
        "task",
    )

    def __init__(self, connection: Protocol, keep_alive: bool) -> None:
        self._connection = connection
        self._scope: Any = connection.scope
        self._transport = connection.transport
        self._flow = connection.flow
        self.keep_alive = keep_alive
        self._waits_for_leave = connection.expect_100_continue
        self._event: asyncio.Event | None = None
        self._body: bytes | bytearray = b""
        self._more = True
        self._has_news = False
        self._started = False
        self._head = b""
        self._left = -1
        """Bytes that the answer still promises; below 0 it has promised nothing."""
        self._is_chunked = False
        self._has_body = connection.scope["method"] != "HEAD"
        self.disconnected = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None

    async def run(self, app: Any, discard: Callable[[Any], None]) -> None:
        """The application answers, or its failure does. An answer that is not whole closes the connection."""
        try:
            await app(self._scope, self.receive, self.send)
            if not (self.response_complete or self.disconnected):
                raise RuntimeError("The application returned without a complete answer.")
        except BaseException as problem:  # the outermost edge, as in uvicorn: one failure ends one answer
            _log.error("The application failed.", exc_info=problem)
            await self._fail()
        finally:
            discard(self.task)
            self.task = None

    @property
    def message_event(self) -> Exchange:
        """uvicorn sets it when the connection is lost."""
        return self

    def set(self) -> None:
        """Whoever waits in `receive` looks again."""
        self._has_news = True
        if self._event is not None:
            self._event.set()

    def leave(self) -> None:
        """The caller is gone."""
        if not self.response_complete:
            self.disconnected = True
        self.set()

    def take(self, body: bytes) -> None:
        """Some more of the request has come."""
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body)
            self._body += body
        else:
            self._body += body
        if len(self._body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self.set()

    def take_end(self) -> None:
        """The request is complete."""
        self._more = False
        self.set()

    async def receive(self) -> Message:
        if self._waits_for_leave and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._waits_for_leave = False
        if not (self._has_news or self.disconnected or self.response_complete):
            self._flow.resume_reading()
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self._body), "more_body": self._more}
        self._body, self._has_news = b"", False
        return message

    async def send(self, message: Message) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("The answer is complete already.")
        kind = message["type"]
        if kind == "http.response.body" and self._started:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self._started:
            self._head = self._head_of(message["status"], message.get("headers", ()))
            self._started, self._waits_for_leave = True, False
        else:
            raise RuntimeError(f"The message {kind} does not come in its order.")

    def _head_of(self, status: int, headers: Any) -> bytes:
        """Raises RuntimeError for what would be another header, or another answer."""
        lines, closes = [STATUS_LINE[status]], False
        for given, value in [*self._connection.server_state.default_headers, *headers]:
            name = given.lower()
            if name in _OF_THE_SERVER:
                if name == b"content-length":
                    self._left = int(value)
                elif name == b"transfer-encoding":
                    continue
                elif b"close" in value.lower():
                    closes, self.keep_alive = True, False
            lines.append(b"%b: %b\r\n" % (name, value))
        self._has_body = self._has_body and status not in _WITHOUT_BODY
        if self._left < 0 and self._has_body:
            if self._scope["http_version"] == "1.0":
                self.keep_alive = False  # its end is that of the connection
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if not (self.keep_alive or closes):
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
            raise RuntimeError("A header has a line break in it.")
        return head + b"\r\n"

    def _send_body(self, body: bytes, more: bool) -> None:
        if not self._has_body:
            body = b""
        elif self._is_chunked:
            end = b"" if more else b"0\r\n\r\n"
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        elif self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("The answer is not as long as its content-length says.")
        if self._head or body:
            self._transport.write(self._head + body)
            self._head = b""
        if not more:
            self.response_complete = True
            self.set()
            if not self.keep_alive:
                self._transport.close()
            self._connection.on_response_complete()

    async def _fail(self) -> None:
        """The caller learns that there is no answer, or that the one that began is not whole."""
        if self.disconnected or self.response_complete:
            return
        if self._started and not self._head:
            self._transport.close()
            return
        self._started, self._left, self._is_chunked = False, -1, False
        length = (b"content-length", str(len(_FAILED)).encode())
        headers = [(b"content-type", b"application/json"), length, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED})
