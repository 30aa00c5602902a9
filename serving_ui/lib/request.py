"""Checks that pages, API, gateway and sandbox share: length of the URL, size and compression of the body.

They run before anything of the request is stored or cached.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from serving_ui.lib.content_coding import Decoder, NotDecodable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_TARGET_BYTES = 8 * 1024
"""Bytes of path and query."""
ACCEPTED_ENCODINGS = "gzip, deflate"
_MAX_ENCODINGS = 2
_MB = 1024 * 1024
# PostgreSQL cannot store NUL, and a lone surrogate cannot be encoded as UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ClientDisconnected(Exception):
    """The client disconnected before the request was complete."""


class RequestRefused(Exception):
    """The request is refused. The text is a sentence for a person. Pages answer `status`, API and gateway answer 400."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The maximum size of a body, both before and after decompression, and the setting that changes it."""

    max_bytes: int
    setting: str


CONTROL_BODY = BodyLimit(4 * _MB, "SERVING_UI_CONTROL_BODY_BYTES")
QUERY_BODY = BodyLimit(16 * _MB, "SERVING_UI_QUERY_BODY_BYTES")
"""Larger than CONTROL_BODY, because a query may contain images."""


def has_unstorable_characters(value: str) -> bool:
    """Whether the value contains NUL or a lone surrogate."""
    return _UNSTORABLE.search(value) is not None


def target_problem(*, path: str, query: bytes, size: int) -> RequestRefused | None:
    """The refusal of a URL, if any. `path` is decoded; `size` is the length of path and query in bytes, as received."""
    if size > MAX_TARGET_BYTES:
        return RequestRefused(
            f"The address of the request is longer than {MAX_TARGET_BYTES // 1024} kB. Send long texts in the body.",
            status=414,
        )
    if "\0" in path or b"%00" in query:
        return RequestRefused("The address contains the character NUL. Remove it.")
    return None


async def read_body(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, limit: BodyLimit
) -> bytes:
    """The whole body, decompressed. `headers` are the scope's, by name. Raises RequestRefused or ClientDisconnected.

    Reads at most as much as the limit allows, and nothing if `content-length` exceeds it.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit.max_bytes:
        raise _too_large(limit)
    message = await receive()
    content: bytes = message.get("body", b"")
    if message.get("more_body"):
        content = await _read_rest(content, receive, limit)
    elif message["type"] == "http.disconnect":
        raise ClientDisconnected
    if len(content) > limit.max_bytes:
        raise _too_large(limit)
    if b"content-encoding" in headers and content:
        codings = _content_encodings(scope["headers"])
        # In a thread, because a few kB can decompress to the full limit.
        return await asyncio.to_thread(_decompressed, content, codings, limit) if codings else content
    return content


async def _read_rest(first: bytes, receive: Receive, limit: BodyLimit) -> bytes:
    parts, size, more = [first], len(first), True
    while more and size <= limit.max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    if size > limit.max_bytes:
        raise _too_large(limit)
    return b"".join(parts)


def _content_encodings(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The content codings in the order of application, without `identity`. Raises RequestRefused."""
    listed = b",".join(value for name, value in headers if name == b"content-encoding").decode("latin-1")
    codings = [each.strip().lower() for each in listed.split(",")]
    codings = [each.removeprefix("x-") for each in codings if each not in ("", "identity")]
    for coding in codings:
        if coding not in ("gzip", "deflate"):
            known = f"Send it as it is, or compressed with one of: {ACCEPTED_ENCODINGS}."
            raise RequestRefused(
                f"The body is encoded as {coding[:40]!r}, which is not supported. {known}", status=415
            )
    if len(codings) > _MAX_ENCODINGS:
        raise RequestRefused(f"The body is compressed more than {_MAX_ENCODINGS} times. Compress it once.")
    return codings


def _decompressed(content: bytes, codings: list[str], limit: BodyLimit) -> bytes:
    for coding in reversed(codings):
        content = _decompress(content, coding, limit)
    return content


def _decompress(content: bytes, coding: str, limit: BodyLimit) -> bytes:
    decoder = Decoder(allow_raw=coding == "deflate")
    decoder.feed(content)
    parts, size = [], 0
    try:
        while part := decoder.take():
            parts.append(part)
            size += len(part)
            if size > limit.max_bytes:
                raise _too_large(limit)
    except NotDecodable:
        raise RequestRefused(f"The body cannot be read as {coding}, which its header says it is.") from None
    if not decoder.is_complete:
        raise RequestRefused(f"The body is incomplete: the data compressed with {coding} ends too early.")
    return b"".join(parts)


def _too_large(limit: BodyLimit) -> RequestRefused:
    size = f"{limit.max_bytes / _MB:g} MB" if limit.max_bytes % _MB == 0 else f"{limit.max_bytes} bytes"
    return RequestRefused(
        f"The body is larger than {size}, which is the limit. Send less at a time, or ask for a higher {limit.setting}.",
        status=413,
    )
