"""A long list as JSON, written while it is read, so that neither its length in memory nor the wait grows with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import chain, islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

AT_ONCE = 200  # as many are answered in one piece, with a length
PIECE = 500


def json_list(request: HttpRequest, name: str, items: Iterator[dict[str, Any]]) -> HttpResponseBase:
    """`{"<name>": […]}`. What fails at the first items still fails before the answer begins."""
    first = list(islice(items, AT_ONCE))
    if len(first) < AT_ONCE:
        return HttpResponse(_encoded({name: first}), content_type="application/json")
    pieces = _pieces(name, chain(first, items))
    # Each kind of server wants its own kind of iterator; the other is read to its end before a byte is sent.
    content = _asynchronous(pieces) if isinstance(request, ASGIRequest) else pieces
    return StreamingHttpResponse(content, content_type="application/json")


def _pieces(name: str, items: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    before = f'{{"{name}":['
    while piece := list(islice(items, PIECE)):
        yield before.encode() + _encoded(piece)[1:-1]
        before = ","
    yield b"]}"


async def _asynchronous(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    # In the thread that read the first rows: the cursor belongs to its connection.
    while piece := await sync_to_async(_next)(pieces):
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
