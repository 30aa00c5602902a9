"""Measures streams from the client's side: the time of the first token, and many open streams."""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import statistics
from collections.abc import Mapping
from time import perf_counter
from urllib.parse import urlsplit

STREAM_REQUEST = {"messages": [{"role": "user", "content": "Tell the bench a story."}], "stream": True}


class NoStream(Exception):
    """The gateway did not stream although it was asked to."""


def stream_request(model: str | None) -> dict[str, object]:
    return {**STREAM_REQUEST, "model": model} if model else STREAM_REQUEST


def first_token(
    url: str, headers: Mapping[str, str], *, model: str | None, times: int
) -> tuple[float, float]:
    """Milliseconds from the request to the first event on one connection: median and 99th percentile."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    body = json.dumps(stream_request(model))
    taken = []
    for _ in range(times):
        began = perf_counter()
        connection.request("POST", parts.path, body, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        first = reply.read1(65536)
        taken.append((perf_counter() - began) * 1000)
        if reply.status != 200 or b"data:" not in first:
            raise NoStream(f"{url} did not stream: {reply.status} {first[:200]!r}")
        reply.read()
    connection.close()
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


class OpenStreams:
    """Many streams at once, each with its first event read. `start` and `finish` belong together."""

    def __init__(self, url: str, headers: Mapping[str, str], *, model: str | None, count: int) -> None:
        self._parts = urlsplit(url)
        body = json.dumps({**stream_request(model), "user": "hold"}).encode()
        lines = [
            f"POST {self._parts.path} HTTP/1.1",
            f"Host: {self._parts.netloc}",
            "Content-Type: application/json",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {len(body)}",
        ]
        self._message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self._count = count
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def start(self) -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        few = asyncio.Semaphore(50)  # not all at the same time, as real clients

        async def one() -> None:
            async with few:
                reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
                writer.write(self._message)
                await asyncio.wait_for(reader.readuntil(b"data:"), 60)
                self._open.append((reader, writer))

        await asyncio.gather(*(one() for _ in range(self._count)))

    async def finish(self) -> int:
        """Read every stream to its end; returns how many were complete."""

        async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            try:
                await asyncio.wait_for(reader.readuntil(b"[DONE]"), 60)
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                return False
            finally:
                writer.close()
            return True

        return sum(await asyncio.gather(*(rest(*each) for each in self._open)))
