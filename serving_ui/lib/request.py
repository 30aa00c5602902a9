"""What no face takes of an HTTP request: an address that is too long, a body that is larger than its limit or is no body.

Here because every face must refuse the same, and before anything of it is stored or remembered.
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
# NUL cannot be stored everywhere, and half of a surrogate pair is no text.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ClientDisconnected(Exception):
    """The caller left before the request was complete. There is nobody to answer."""


class RequestRefused(Exception):
    """No face takes the request. The text is a sentence for a person; `status` is for a page, programs get 400."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How many bytes a body may have, before and after it is decoded, and the setting that says so."""

    most: int
    setting: str


CONTROL_BODY = BodyLimit(4 * _MB, "SERVING_UI_CONTROL_BODY_BYTES")
QUERY_BODY = BodyLimit(16 * _MB, "SERVING_UI_QUERY_BODY_BYTES")
"""More, for images, which are sent within a query."""


def has_unstorable_characters(value: str) -> bool:
    """Whether the value holds what cannot be stored or sent as text."""
    return _UNSTORABLE.search(value) is not None


def target_problem(*, path: str, query: bytes, size: int) -> RequestRefused | None:
    """Why no face takes a request for this decoded path and this query, which came as so many bytes."""
    if size > MAX_TARGET_BYTES:
        return RequestRefused(
            f"The address of the request is longer than {MAX_TARGET_BYTES // 1024} kB. Send long texts in the body.",
            status=414,
        )
    if "\0" in path or b"%00" in query:
        return RequestRefused("The address contains the character NUL, which is no text. Remove it.")
    return None


async def read_body(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, limit: BodyLimit
) -> bytes:
    """The whole body, decoded. `headers` are the scope's, by name. Raises RequestRefused or Gone.

    No more is read than the limit allows, and nothing at all of a body that says by itself that it is longer.
    """
    most = limit.most
    declared = headers.get(b"content-length")
    if declared is not None and int(declared) > most:
        raise _too_large(limit)
    message = await receive()
    content: bytes = message.get("body", b"")
    if message.get("more_body"):
        content = await _read_rest(content, receive, limit)
    elif message["type"] == "http.disconnect":
        raise ClientDisconnected
    if len(content) > most:
        raise _too_large(limit)
    if b"content-encoding" in headers and content:
        codings = _content_encodings(scope["headers"])
        # In a thread: a few kB can become all that the limit allows.
        return await asyncio.to_thread(_decompressed, content, codings, limit) if codings else content
    return content


async def _read_rest(first: bytes, receive: Receive, limit: BodyLimit) -> bytes:
    parts, size, more = [first], len(first), True
    while more and size <= limit.most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    if size > limit.most:
        raise _too_large(limit)
    return b"".join(parts)


def _content_encodings(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """In the order in which they were applied, without those that change nothing. Raises RequestRefused."""
    listed = b",".join(value for name, value in headers if name == b"content-encoding").decode("latin-1")
    codings = [each.strip().lower() for each in listed.split(",")]
    codings = [each.removeprefix("x-") for each in codings if each not in ("", "identity")]
    for coding in codings:
        if coding not in ("gzip", "deflate"):
            known = f"Send it as it is, or compressed with one of: {ACCEPTED_ENCODINGS}."
            raise RequestRefused(
                f"The body is encoded as {coding[:40]!r}, which is not known here. {known}", status=415
            )
    if len(codings) > _MAX_ENCODINGS:
        raise RequestRefused(f"The body is compressed more than {_MAX_ENCODINGS} times. Compress it once.")
    return codings


def _decompressed(content: bytes, codings: list[str], limit: BodyLimit) -> bytes:
    for coding in reversed(codings):
        content = _decompress(content, coding, limit)
    return content


def _decompress(content: bytes, coding: str, limit: BodyLimit) -> bytes:
    decoding = Decoder(may_be_bare=coding == "deflate")
    decoding.feed(content)
    parts, size = [], 0
    try:
        while part := decoding.take():
            parts.append(part)
            size += len(part)
            if size > limit.most:
                raise _too_large(limit)
    except NotDecodable:
        raise RequestRefused(
            f"The body is not what its header says: it cannot be read as {coding}."
        ) from None
    if not decoding.is_whole:
        raise RequestRefused(
            f"The body ends in the middle: it is not all of what was compressed with {coding}."
        )
    return b"".join(parts)


def _too_large(limit: BodyLimit) -> RequestRefused:
    most = f"{limit.most / _MB:g} MB" if limit.most % _MB == 0 else f"{limit.most} bytes"
    return RequestRefused(
        f"The body is larger than {most}, the most that is taken here. Send less at a time, or have {limit.setting} raised.",
        status=413,
    )
