"""Applications of the bench for ASGI and RSGI: a minimal proxy with one of several upstream clients, and the real gateway.

The environment says which: BENCH_CLIENT (ours, pyreqwest, aiohttp, httpx, none), BENCH_UPSTREAM (host:port), and with BENCH_SPOOL
(a folder) the real gateway keeps records.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.snapshot import (
    Endpoint,
    Entity,
    Limit,
    Principal,
    Snapshot,
    SnapshotHolder,
    TokenEntry,
)
from serving_ui.gateway.spool import Spool
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy

Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]

CLIENT = os.environ.get("BENCH_CLIENT", "ours")
UPSTREAM = os.environ.get("BENCH_UPSTREAM", "127.0.0.1:9900")
URL = f"http://{UPSTREAM}/v1/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
TOKEN = "dapi-bench"
LOOPBACK = EgressPolicy(loopback=True)


def ours() -> Post:
    client = UpstreamClient()

    async def post(body: bytes) -> tuple[int, bytes]:
        request = UpstreamRequest("POST", URL, tuple(HEADERS.items()), body)
        reply = await client.send(request, policy=LOOPBACK)
        try:
            return reply.status, await reply.body()
        finally:
            reply.release()

    return post


def pyreqwest() -> Post:
    from pyreqwest.client import ClientBuilder

    host, _, port = UPSTREAM.partition(":")
    client = ClientBuilder().no_proxy().http1_only().resolve("upstream.test", host, int(port)).build()
    url = URL.replace(host, "upstream.test")

    async def post(body: bytes) -> tuple[int, bytes]:
        reply = await client.post(url).headers(HEADERS).body_bytes(body).build().send()
        return reply.status, bytes(await reply.bytes())

    return post


def aiohttp() -> Post:
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector

    client = ClientSession(
        connector=TCPConnector(limit=0), auto_decompress=False, cookie_jar=DummyCookieJar()
    )

    async def post(body: bytes) -> tuple[int, bytes]:
        async with client.post(URL, data=body, headers=HEADERS, allow_redirects=False) as reply:
            return reply.status, await reply.read()

    return post


def httpx() -> Post:
    from httpx import AsyncClient

    client = AsyncClient()

    async def post(body: bytes) -> tuple[int, bytes]:
        reply = await client.post(URL, content=body, headers=HEADERS)
        return reply.status_code, reply.content

    return post


def none() -> Post:
    async def post(body: bytes) -> tuple[int, bytes]:
        return 200, b"{}"

    return post


class Bare:
    """A minimal proxy: reads, parses, sends, responds. The same for ASGI and RSGI."""

    post: Post

    def start(self) -> None:
        self.post = {"ours": ours, "pyreqwest": pyreqwest, "aiohttp": aiohttp, "httpx": httpx, "none": none}[
            CLIENT
        ]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send, self.start)
            return
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        from_json(content)
        status, body = await self.post(content)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class BareRsgi(Bare):
    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        async def start() -> None:
            self.start()

        loop.run_until_complete(start())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        content = await protocol()
        from_json(content)
        status, body = await self.post(content)
        protocol.response_bytes(status, [("content-type", "application/json")], body)


async def live(receive: Any, send: Any, start: Callable[[], None]) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        start()
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})


class Governed:
    """The real gateway with token, right, two limits, egress policy and all headers of the product."""

    def __init__(self) -> None:
        values = {
            "openai_api_base": f"http://{UPSTREAM}/v1",
            "openai_api_key": Secret.from_plaintext("sk-bench"),
        }
        config = PROVIDERS["openai"].config.model_validate(values)
        served = Entity("entity", "openai", "gpt-4o", Task.CHAT, config)
        limits = (Limit("endpoint", 10_000_000), Limit("user", 10_000_000))
        endpoint = Endpoint("1", "bench", Task.CHAT, (served,), users=frozenset({"1"}), limits=limits)
        tokens = {sha256(TOKEN.encode()).digest(): TokenEntry(Principal("1", "bench@example.com"))}
        holder = SnapshotHolder(Snapshot(endpoints={"bench": endpoint}, tokens=tokens, egress=LOOPBACK))
        folder = os.environ.get("BENCH_SPOOL")
        self._gateway = Gateway(holder, recorder=Spool(Path(folder)) if folder else None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send, lambda: None)
            return
        await self._gateway(scope, receive, send)


asgi = Bare()
rsgi = BareRsgi()
governed = Governed()
