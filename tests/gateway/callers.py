"""Sends many concurrent queries to one gateway, each caller on a connection of its own, and counts the answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 60
MESSAGES = [{"role": "user", "content": "Say hello to all callers."}]
ENDPOINTS = {"anthropic": "claude", "limited": "few"}
"""The endpoint of a kind of query, if it is not `chat`."""
VENDOR_BEHAVIOURS = {"short": "stream", "limited": "whole"}
"""What the vendor does, if it is not called like the kind of query. A caller of the kind `short` disconnects after the first event."""
STREAMED = frozenset({"stream", "held", "endless", "mute", "cut", "short", "anthropic"})


class CallerConnection:
    """One connection to the gateway, for one query after another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader

    async def send_query(self, endpoint: str, token: str, body: bytes) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            f"POST /serving-endpoints/{endpoint}/invocations HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        await self._writer.drain()

    async def event(self) -> None:
        """Wait for the first event of a stream."""
        await asyncio.wait_for(self._reader.readuntil(b"data:"), TIMEOUT_SECONDS)

    async def answer(self) -> tuple[int, bytes]:
        """Returns status and body. Raises IncompleteReadError if the connection is closed before the end."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            content = await self._reader.readexactly(int(length)) if length else await self.rest()
        return int(head.split()[1]), content

    async def rest(self) -> bytes:
        """Returns the body of a chunked response."""
        chunks = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            chunks.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(chunks)

    async def tail(self) -> bytes:
        """Returns the rest of a stream of which an event has been read."""
        return await asyncio.wait_for(self._reader.readuntil(b"\r\n0\r\n\r\n"), TIMEOUT_SECONDS)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@dataclass
class Callers:
    """Sends queries, and counts them and their answers. Every query that reaches an endpoint has a unique number."""

    port: int
    token: str = field(repr=False)
    sent: int = 0
    unnumbered: int = 0
    """Queries whose body cannot be parsed, so that their record has no number."""
    refused: int = 0
    """Queries with a wrong token: they reach no endpoint and have no row."""
    answers: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """The number of answers by kind of query, status and ending."""
    connections: list[tuple[str, CallerConnection]] = field(default_factory=list, repr=False)

    @property
    def request_count(self) -> int:
        return self.sent + self.unnumbered + self.refused

    async def send_mixed(self, kinds: Sequence[str], *, at_once: int) -> None:
        """Sends a query of each kind, `at_once` at a time, on keep-alive connections."""
        left = iter(kinds)

        async def one() -> None:
            connection = CallerConnection(self.port)
            for kind in left:
                await self._send_query(connection, kind)
                if kind == "short":
                    await connection.event()
                    connection.close()
                    continue
                status, content = await connection.answer()
                self.answers[kind, status, _ending(content)] += 1
            connection.close()

        await asyncio.gather(*(one() for _ in range(at_once)))

    async def connect(self, kind: str, count: int) -> None:
        """`count` callers send a query of this kind and stay connected."""
        limiter = asyncio.Semaphore(50)  # connecting all at once would overflow the accept queue

        async def one() -> None:
            connection = CallerConnection(self.port)
            async with limiter:
                await self._send_query(connection, kind)
                if kind != "mute":
                    await connection.event()
            self.connections.append((kind, connection))

        await asyncio.gather(*(one() for _ in range(count)))

    def leave(self, kind: str) -> None:
        """All callers with a query of this kind disconnect."""
        for each, connection in self.connections:
            if each == kind:
                connection.close()
        self.connections = [(each, connection) for each, connection in self.connections if each != kind]

    async def read_to_the_end(self) -> None:
        """The callers that are still connected read their answers to the end."""

        async def one(kind: str, connection: CallerConnection) -> None:
            self.answers[kind, 200, _ending(await connection.tail())] += 1
            connection.close()

        await asyncio.gather(*(one(kind, connection) for kind, connection in self.connections))
        self.connections = []

    async def _send_query(self, connection: CallerConnection, kind: str) -> None:
        token, body = self.token, b"[]"
        if kind == "nonsense":
            self.unnumbered += 1
        elif kind == "stranger":
            self.refused += 1
            token = "spt-of-nobody"
        else:
            self.sent += 1
            body = self._request_body(kind)
        await connection.send_query(ENDPOINTS.get(kind, "chat"), token, body)

    def _request_body(self, kind: str) -> bytes:
        body: dict[str, Any] = {"messages": MESSAGES, "client_request_id": f"{self.sent}"}
        if kind != "anthropic":
            body["user"] = VENDOR_BEHAVIOURS.get(kind, kind)
        if kind in STREAMED:
            body["stream"] = True
        return json.dumps(body).encode()


def _ending(content: bytes) -> str:
    if b"[DONE]" in content:
        return "done"
    return "error" if b'"error' in content else "whole"
