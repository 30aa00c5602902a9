"""A gateway with a hand-made snapshot on a real port, and a sandbox as its provider on another."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
import requests

from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.record import Record
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, SnapshotHolder, TokenEntry
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.lib.egress import EgressPolicy
from tests.support.asgi_server import serve
from tests.support.recordings import all_addresses
from tests.support.sandbox import SandboxServer, running_sandbox
from tests.support.vendor import Vendor, running_vendor
from tests.support.waiting import wait_until

CANARY = "sk-canary-5d41402abc4b2a76b9719d911017c592"
OWNER = Principal("1", "owner@example.com")
STRANGER = Principal("2", "stranger@example.com")
ADMIN = Principal("3", "admin@example.com", is_admin=True)
TOKENS = {"token-owner": OWNER, "token-stranger": STRANGER, "token-admin": ADMIN}
MODELS = {
    Task.CHAT: "gpt-4o",
    Task.COMPLETIONS: "gpt-3.5-turbo-instruct",
    Task.EMBEDDINGS: "text-embedding-3-small",
}
CHAT = {"messages": [{"role": "user", "content": "Say hello."}]}


def entity(
    *, base: str, task: Task = Task.CHAT, key: str = CANARY, name: str = "entity-1", **config: Any
) -> Entity:
    """A served entity of the provider openai with the address `base`."""
    values = {"openai_api_base": base, "openai_api_key": Secret.from_plaintext(key), **config}
    made = PROVIDERS["openai"].config.model_validate(
        {name: value for name, value in values.items() if value is not None}
    )
    return Entity(name=name, provider="openai", model=MODELS[task], task=task, config=made)


def endpoint(name: str, served: Entity, **changes: Any) -> Endpoint:
    made = Endpoint(
        id=f"id-{name}", name=name, task=served.task, entities=(served,), users=frozenset({OWNER.id})
    )
    return replace(made, **changes)


class MemoryRecorder:
    """Keeps the records of all queries in memory, oldest first."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Record) -> None:
        self.records.append(record)

    @property
    def last(self) -> Record:
        """Waits for the record of the only query of the test, and returns it."""
        wait_until(lambda: self.records)
        (record,) = self.records
        return record


@dataclass
class GatewayServer:
    """The gateway's address, its snapshot, which a test may replace, and its records."""

    url: str
    holder: SnapshotHolder = field(repr=False)
    gateway: Gateway = field(repr=False)
    usage: MemoryRecorder = field(default_factory=MemoryRecorder, repr=False)

    def publish(self, *endpoints: Endpoint, **changes: Any) -> None:
        """Replace the endpoints, if any are given, and other fields of the snapshot."""
        current = self.holder.current
        named = {each.name: each for each in endpoints} or current.endpoints
        self.holder.replace(replace(current, endpoints=named, revision=current.revision + 1, **changes))

    def add(self, *endpoints: Endpoint) -> None:
        """Add endpoints to the snapshot, or replace those of the same name."""
        self.publish(*self.holder.current.endpoints.values(), *endpoints)

    def add_endpoint(
        self,
        vendor: Vendor,
        *,
        provider: str,
        model: str,
        config: ProviderConfig,
        task: Task = Task.CHAT,
        name: str = "vendor",
    ) -> None:
        """Add an endpoint of any provider. The default addresses of all providers are replaced by the vendor's."""
        served = Entity(name="entity-1", provider=provider, model=model, task=task, config=config)
        endpoints = {**self.holder.current.endpoints, name: endpoint(name, served)}
        self.publish(*endpoints.values(), addresses=all_addresses(vendor.url))

    def post(
        self, path: str, body: Any = None, *, token: str | None = "token-owner", **options: Any
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        return requests.post(
            f"{self.url}/serving-endpoints/{path}", headers=headers, timeout=60, **content, **options
        )

    def query(self, name: str = "chat", body: Any = CHAT, **options: Any) -> requests.Response:
        return self.post(f"{name}/invocations", body, **options)


@contextmanager
def sent_query(gateway: GatewayServer, name: str, body: Any = CHAT) -> Iterator[socket.socket]:
    """A connection over which a query has been sent; nobody reads the answer. The block's end closes it."""
    content = json.dumps(body).encode()
    head = (
        f"POST /serving-endpoints/{name}/invocations HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer token-owner\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def disconnect_when(
    condition: Callable[[], object], gateway: GatewayServer, name: str, body: Any = CHAT
) -> None:
    """Send a query, and disconnect before the answer, as soon as `condition` holds."""
    with sent_query(gateway, name, body):
        wait_until(condition)


class Application:
    """The gateway as an ASGI application whose lifespan starts and stops it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.gateway(scope, receive, send)
            return
        await receive()
        await self.gateway.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.gateway.stop()
        await send({"type": "lifespan.shutdown.complete"})


def first_snapshot() -> Snapshot:
    tokens = {sha256(token.encode()).digest(): TokenEntry(who) for token, who in TOKENS.items()}
    return Snapshot(
        revision=1,
        tokens=tokens,
        principals={who.id: who for who in TOKENS.values()},
        session_token_key=b"a pass key of the tests",
        egress=EgressPolicy(loopback=True),
    )


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as server:
        yield server


@pytest.fixture
def sandbox(_sandbox: SandboxServer) -> SandboxServer:
    _sandbox.reset()
    return _sandbox


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture(scope="session")
def _gateway() -> Iterator[GatewayServer]:
    usage = MemoryRecorder()
    made = Gateway(SnapshotHolder(), timeouts=Timeouts(connect=20, first_byte=40, total=50), recorder=usage)
    with serve(Application(made)) as running:
        yield GatewayServer(running.url, made.holder, made, usage)


@pytest.fixture
def short_timeouts_gateway() -> Iterator[GatewayServer]:
    """A gateway of the test's own, with short default timeouts and no endpoints, for tests that wait until one of them is over."""
    usage = MemoryRecorder()
    timeouts = Timeouts(connect=20, first_byte=1.5, total=3)
    made = Gateway(SnapshotHolder(first_snapshot()), timeouts=timeouts, recorder=usage)
    with serve(Application(made)) as running:
        yield GatewayServer(running.url, made.holder, made, usage)


@pytest.fixture
def gateway(_gateway: GatewayServer, sandbox: SandboxServer) -> GatewayServer:
    """A gateway with the endpoints `chat`, `text` and `vectors` of the sandbox. All circuits are closed and there are no records."""
    for circuit in _gateway.gateway.client.circuits().values():
        circuit.record_success()
    _gateway.usage.records.clear()
    _gateway.holder.replace(first_snapshot())
    _gateway.publish(
        endpoint("chat", entity(base=sandbox.base)),
        endpoint("text", entity(base=sandbox.base, task=Task.COMPLETIONS)),
        endpoint("vectors", entity(base=sandbox.base, task=Task.EMBEDDINGS)),
    )
    return _gateway
