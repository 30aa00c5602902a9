"""One request and its response as ASGI messages. `protocol.py` has the connection that carries them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from serving_ui.server.protocol import Protocol

_log = logging.getLogger("serving_ui.server")
_PLAIN_HEADERS = frozenset(
    {b"date", b"content-type", b"x-request-id", b"x-gateway-overhead-ms", b"served-model-name"}
)
"""Frequent lower-case header names that need no processing by the server."""
_WITHOUT_BODY = frozenset({204, 304})
_FAILED = b'{"error_code":"INTERNAL_ERROR","message":"The server failed. Its log has the reason."}'

Message = dict[str, Any]


class Exchange:
    """Replaces uvicorn's RequestResponseCycle, whose public attributes uvicorn uses."""

    __slots__ = (
        "_body",
        "_bytes_left",
        "_connection",
        "_event",
        "_expects_100_continue",
        "_flow",
        "_has_body",
        "_has_unread_event",
        "_head",
        "_is_chunked",
        "_more_body",
        "_scope",
        "_transport",
        "disconnected",
        "keep_alive",
        "response_complete",
        "started",
        "task",
    )

    def __init__(self, connection: Protocol, keep_alive: bool) -> None:
        self._connection = connection
        self._scope: Any = connection.scope
        self._transport = connection.transport
        self._flow = connection.flow
        self.keep_alive = keep_alive
        self._expects_100_continue = connection.expect_100_continue
        self._event: asyncio.Event | None = None
        self._body: bytes | bytearray = b""
        self._more_body = True
        self._has_unread_event = False
        self.started = False
        self._head = b""
        self._bytes_left = -1
        """Bytes until the response's content-length is reached; below 0 without that header."""
        self._is_chunked = False
        self._has_body = connection.scope["method"] != "HEAD"
        self.disconnected = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None

    async def run(self, app: Any, discard: Callable[[Any], None]) -> None:
        """Run the application. If it fails, answer 500, or close the connection when the response has begun."""
        try:
            await app(self._scope, self.receive, self.send)
            if not (self.response_complete or self.disconnected):
                raise RuntimeError("The application returned before its response was complete.")
        except BaseException as problem:  # as in uvicorn: an error of the application ends this response only
            _log.error("The application failed.", exc_info=problem)
            await self._fail()
        finally:
            discard(self.task)
            self.task = None

    @property
    def message_event(self) -> Exchange:
        """uvicorn calls its `set` when the connection is lost."""
        return self

    def set(self) -> None:
        """Wake the application if it waits in `receive`."""
        self._has_unread_event = True
        if self._event is not None:
            self._event.set()

    def disconnect(self) -> None:
        """The client has closed the connection."""
        if not self.response_complete:
            self.disconnected = True
        self.set()

    def receive_body(self, body: bytes) -> None:
        """Buffer a part of the request body."""
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

    def receive_end(self) -> None:
        """The request is complete."""
        self._more_body, self._has_unread_event = False, True
        if self._event is not None:
            self._event.set()

    async def receive(self) -> Message:
        if self._expects_100_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_100_continue = False
        if not (self._has_unread_event or self.disconnected or self.response_complete):
            if self._flow.read_paused:
                self._connection.read_on()
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self._body), "more_body": self._more_body}
        self._body, self._has_unread_event = b"", False
        return message

    async def send(self, message: Message) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("The response is already complete.")
        kind = message["type"]
        if kind == "http.response.body" and self.started:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.started:
            self._head = self._encode_head(message["status"], message.get("headers", ()))
            self.started, self._expects_100_continue = True, False
        else:
            raise RuntimeError(f"The message {kind} is out of order.")

    def _encode_head(self, status: int, headers: Any) -> bytes:
        """Raises RuntimeError for a header with a line break (response splitting)."""
        parts, closes = [STATUS_LINE[status]], False
        headers = [*self._connection.server_state.default_headers, *headers]
        lines = len(headers) + 1
        for sent_name, value in headers:
            name = sent_name
            if name not in _PLAIN_HEADERS:
                name = sent_name.lower()
                if name == b"content-length":
                    self._bytes_left = int(value)
                elif name == b"transfer-encoding":
                    lines -= 1
                    continue
                elif name == b"connection" and b"close" in value.lower():
                    closes, self.keep_alive = True, False
            parts += (name, b": ", value, b"\r\n")
        self._has_body = self._has_body and status not in _WITHOUT_BODY
        if self._bytes_left < 0 and self._has_body:
            if self._scope["http_version"] == "1.0":
                self.keep_alive = False  # HTTP/1.0 ends the body by closing the connection
            else:
                self._is_chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
                lines += 1
        if not (self.keep_alive or closes):
            parts.append(b"connection: close\r\n")
            lines += 1
        head = b"".join(parts)
        if not head.count(b"\n") == head.count(b"\r") == lines or head.find(b"\0") >= 0:
            raise RuntimeError("A header contains a line break.")
        return head + b"\r\n"

    def _send_body(self, body: bytes, more: bool) -> None:
        if not self._has_body:
            body = b""
        elif self._is_chunked:
            end = b"" if more else b"0\r\n\r\n"
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        elif self._bytes_left >= 0:
            self._bytes_left -= len(body)
            if self._bytes_left < 0 or (self._bytes_left and not more):
                raise RuntimeError("The length of the body differs from content-length.")
        if self._head or body:
            self._transport.write(self._head + body)
            self._head = b""
        if not more:
            self.response_complete = True
            self.set()
            self._connection.on_response_complete()

    async def _fail(self) -> None:
        """Answer 500, or close the connection if the response has begun."""
        if self.disconnected or self.response_complete:
            return
        if self.started and not self._head:
            self._transport.close()
            return
        self.started, self._bytes_left, self._is_chunked = False, -1, False
        length = (b"content-length", str(len(_FAILED)).encode())
        headers = [(b"content-type", b"application/json"), length, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED})
