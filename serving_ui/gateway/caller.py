"""The caller's side of one query: what ASGI says of the request, and the answer that is written back.

It knows HTTP and JSON and nothing of endpoints. Every answer carries a request id and how long the gateway itself took. Its clock
stands still while a caller sends the body: a slow line is neither the gateway's time nor the provider's.
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
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Caller:
    """One request. `answer` or `begin` … `push` … `end`, once."""

    __slots__ = (
        "_headers",
        "_overhead",
        "_scope",
        "_send",
        "_started",
        "_waited",
        "began",
        "first_byte_ms",
        "method",
        "path",
        "receive",
        "request_id",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        self._waited = 0.0
        self._scope = scope
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._send = send
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._overhead: float | None = None
        self.began = False
        self.first_byte_ms = 0.0
        given = self._headers.get(b"x-request-id")
        self.request_id = (
            given if given and _ID.fullmatch(given) else getrandbits(128).to_bytes(16).hex().encode()
        )

    def bearer(self) -> str:
        """The access token. Raises when there could be two: a proxy may have looked at the other one."""
        if len(self._headers) != len(self._scope["headers"]) and self._times(b"authorization") > 1:
            raise invalid("The request has the header Authorization more than once. Send it once.")
        kind, _, token = self._headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if kind.lower() == b"bearer" else ""

    def traceparent(self) -> str:
        """The caller's place in its own trace, when it tells one."""
        given = self._headers.get(b"traceparent")
        return given.decode() if given and _TRACE.fullmatch(given) else ""

    async def body(self, limit: BodyLimit) -> bytes:
        """The whole body, decoded. Raises when it is longer than is taken, before reading more of it than that."""
        began = perf_counter()
        try:
            return await read_body(self._scope, self._headers, self.receive, limit)
        except RequestRefused as refusal:
            raise invalid(str(refusal)) from None
        finally:
            self._started += perf_counter() - began

    def waited(self, seconds: float) -> None:
        """Time that went by at the provider and is not the gateway's own."""
        self._waited += seconds

    async def answer(self, status: int, content: bytes, *extra: Header) -> None:
        headers = [_JSON, (b"content-length", b"%d" % len(content)), *self._own_headers(), *extra]
        self.began = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def refuse(self, error: GatewayError) -> None:
        """The error as a JSON answer or, when a stream has begun, as its last event."""
        if self.began:
            await self.end(error.event)
        else:
            await self.answer(error.status, error.body, *error.headers)

    async def begin(self, *extra: Header) -> None:
        self.began = True
        self.first_byte_ms = self.elapsed_ms()
        headers = [*_STREAM, *self._own_headers(), *extra]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def push(self, content: bytes) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self, content: bytes = b"") -> None:
        """The last of a stream."""
        await self._send({"type": "http.response.body", "body": content})

    def elapsed_ms(self) -> float:
        """Since the request came."""
        return (perf_counter() - self._started) * 1000

    def overhead_ms(self) -> float:
        """What the gateway itself has added, up to the first byte of the answer."""
        if self._overhead is not None:
            return self._overhead
        return (perf_counter() - self._started - self._waited) * 1000

    def _times(self, wanted: bytes) -> int:
        return sum(1 for name, _value in self._scope["headers"] if name == wanted)

    def _own_headers(self) -> tuple[Header, Header]:
        own = self._overhead = self.overhead_ms()
        return (b"x-request-id", self.request_id), (b"x-gateway-overhead-ms", b"%.3f" % own)
