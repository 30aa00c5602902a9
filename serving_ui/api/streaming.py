"""A long list as JSON, written while its rows are read: memory and time to the first byte do not grow with its length."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

MAX_UNSTREAMED = 200  # shorter lists are answered in one piece, with Content-Length
CHUNK_ROWS = 500


def json_list(request: HttpRequest, name: str, items: Iterator[Mapping[str, Any]]) -> HttpResponseBase:
    """`{"<name>": […]}`. An error in the first rows is raised here, before the answer begins."""
    first = list(islice(items, MAX_UNSTREAMED))
    if len(first) < MAX_UNSTREAMED:
        return HttpResponse(_encoded({name: first}), content_type="application/json")
    chunks = _chunks(name, chain(first, items))
    # Django reads an iterator of the other kind (sync or async) to its end before it sends a byte.
    content = _asynchronous(chunks) if isinstance(request, ASGIRequest) else chunks
    return StreamingHttpResponse(content, content_type="application/json")


def _chunks(name: str, items: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    before = f'{{"{name}":['
    while chunk := list(islice(items, CHUNK_ROWS)):
        yield before.encode() + _encoded(chunk)[1:-1]
        before = ","
    yield b"]}"


async def _asynchronous(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    # In the thread that read the first rows, because a database cursor belongs to its thread's connection.
    while chunk := await sync_to_async(_next)(chunks):
        yield chunk


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
