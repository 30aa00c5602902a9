"""The caller's side of one query: the ASGI request and the response that is written back.

Knows HTTP and JSON, and nothing of endpoints. Every response carries a request id and the gateway's own time. The time in which a
caller sends its body is not measured: a slow client is neither the gateway's overhead nor the provider's latency.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from random import getrandbits
from time import perf_counter
from typing import Any

from serving_ui.gateway.errors import GatewayError, invalid
from serving_ui.lib.request import BodyLimit, ClientDisconnected, RequestRefused, read_body

__all__ = ["Caller", "ClientDisconnected"]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

_JSON = (b"content-type", b"application/json")
_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Caller:
    """One request. Answer it once: by `respond`, or by `begin_stream`, `send_chunk` any number of times, and `end_stream`."""

    __slots__ = (
        "_headers",
        "_overhead",
        "_scope",
        "_send",
        "_started",
        "_upstream_seconds",
        "first_byte_ms",
        "has_begun",
        "method",
        "path",
        "receive",
        "request_id",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        self._upstream_seconds = 0.0
        self._scope = scope
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._send = send
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._overhead: float | None = None
        self.has_begun = False
        self.first_byte_ms = 0.0
        received_id = self._headers.get(b"x-request-id")
        self.request_id = (
            received_id
            if received_id and _REQUEST_ID.fullmatch(received_id)
            else getrandbits(128).to_bytes(16).hex().encode()
        )

    def bearer(self) -> str:
        """The access token; empty without one. Raises if the header is there twice, since a proxy may have checked the other one."""
        if len(self._headers) != len(self._scope["headers"]) and self._count_headers(b"authorization") > 1:
            raise invalid("The request has the header Authorization more than once. Send it once.")
        kind, _, token = self._headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if kind.lower() == b"bearer" else ""

    def traceparent(self) -> str:
        """The caller's trace context (W3C); empty without a valid one."""
        header = self._headers.get(b"traceparent")
        return header.decode() if header and _TRACEPARENT.fullmatch(header) else ""

    async def body(self, limit: BodyLimit) -> bytes:
        """The whole body, decompressed. Raises GatewayError as soon as it exceeds the limit."""
        began = perf_counter()
        try:
            return await read_body(self._scope, self._headers, self.receive, limit)
        except RequestRefused as refusal:
            raise invalid(str(refusal)) from None
        finally:
            self._started += perf_counter() - began

    def add_upstream_time(self, seconds: float) -> None:
        """Add time spent waiting for the provider, which is not the gateway's own."""
        self._upstream_seconds += seconds

    async def respond(self, status: int, content: bytes, *extra: Header) -> None:
        headers = [_JSON, (b"content-length", b"%d" % len(content)), *self._gateway_headers(), *extra]
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def respond_error(self, error: GatewayError) -> None:
        """The error as a JSON answer or, when a stream has begun, as its last event."""
        if self.has_begun:
            await self.end_stream(error.event)
        else:
            await self.respond(error.status, error.body, *error.headers)

    async def begin_stream(self, *extra: Header) -> None:
        self.has_begun = True
        self.first_byte_ms = self.elapsed_ms()
        headers = [*_STREAM, *self._gateway_headers(), *extra]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_chunk(self, content: bytes) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end_stream(self, content: bytes = b"") -> None:
        """Send the last chunk."""
        await self._send({"type": "http.response.body", "body": content})

    def elapsed_ms(self) -> float:
        """Since the request arrived, without the time in which the body was received."""
        return (perf_counter() - self._started) * 1000

    def overhead_ms(self) -> float:
        """The gateway's own time, until the first byte of the response."""
        if self._overhead is not None:
            return self._overhead
        return (perf_counter() - self._started - self._upstream_seconds) * 1000

    def _count_headers(self, wanted: bytes) -> int:
        return sum(1 for name, _value in self._scope["headers"] if name == wanted)

    def _gateway_headers(self) -> tuple[Header, Header]:
        overhead = self._overhead = self.overhead_ms()
        return (b"x-request-id", self.request_id), (b"x-gateway-overhead-ms", b"%.3f" % overhead)
