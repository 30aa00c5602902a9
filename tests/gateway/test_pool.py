"""The connection pool: a connection is reused only for the same credentials, and only if it has received nothing since."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses, Auth, AwsSigV4, UpstreamRequest
from serving_ui.gateway import pool
from serving_ui.gateway.snapshot import Endpoint, Entity
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_sent_once import server
from tests.support.waiting import DEADLINE

LOOPBACK = EgressPolicy(loopback=True)
FIRST, SECOND_NS = "sk-of-the-first-endpoint", "sk-of-the-second-endpoint"


@dataclass
class Vendor:
    """Answers each request with the number of its connection, which stays open. `seen` is what each connection received."""

    url: str = ""
    seen: list[bytes] = field(default_factory=list)
    late: bytes = b""
    """Sent after the first answer without a request, when `go` is set."""
    go: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)

    def handle_connection(self, connection: socket.socket) -> None:
        number = len(self.seen)
        self.seen.append(b"")
        while content := connection.recv(65536):
            self.seen[number] += content
            connection.sendall(answer(number))
            if self.late:
                late, self.late = self.late, b""
                self.go.wait(DEADLINE)
                connection.sendall(late)
                self.sent.set()

    def received_marks(self, *marks: str) -> list[set[str]]:
        """Which of the marks each connection received."""
        return [{mark for mark in marks if mark.encode() in seen} for seen in self.seen]


def answer(number: int) -> bytes:
    """A valid answer to a query and to a token request."""
    reply_body = {
        "connection": number,
        "choices": [{}],
        "access_token": f"token-{number}",
        "expires_in": 3600,
    }
    content = json.dumps(reply_body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
    return head + content


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    with server(made.handle_connection) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def azure(name: str, vendor: Vendor, tenant: str, secret: str) -> Endpoint:
    """An endpoint of Azure whose access tokens come from the vendor, too."""
    values: dict[str, Any] = {
        "openai_api_type": "azuread",
        "openai_api_base": vendor.url,
        "openai_api_version": "2024-10-21",
        "openai_deployment_name": "deployment",
        "microsoft_entra_tenant_id": tenant,
        "microsoft_entra_client_id": "client",
        "microsoft_entra_client_secret": Secret.from_plaintext(secret),
    }
    config = PROVIDERS["openai"].config.model_validate(values)
    return endpoint(name, Entity("entity-1", "openai", "gpt-4o", Task.CHAT, config))


@asynccontextmanager
async def running() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient()
    client.start()
    yield client
    client.stop()


async def connection_number(
    client: UpstreamClient, url: str, *, auth: Auth | None = None, **headers: str
) -> int:
    """Send a request; returns the number of its connection."""
    request = UpstreamRequest("POST", url, tuple(headers.items()), b"{}", auth)
    reply = await client.send(request, policy=LOOPBACK)
    reply_body = json.loads(await reply.body())
    reply.release()
    return int(reply_body["connection"])


def test_endpoints_with_different_keys_never_share_a_connection(gateway: GatewayServer, vendor: Vendor):
    for name, key in (("first", FIRST), ("second", SECOND_NS)):
        gateway.add(endpoint(name, entity(base=vendor.url, key=key)))
    for _ in range(5):
        assert gateway.query("first").json()["connection"] == 0
        assert gateway.query("second").json()["connection"] == 1
    assert vendor.received_marks(FIRST, SECOND_NS) == [{FIRST}, {SECOND_NS}]


def test_endpoints_with_the_same_key_share_connections(gateway: GatewayServer, vendor: Vendor):
    """For each task, and with or without a stream."""
    gateway.add(endpoint("first", entity(base=vendor.url, key=FIRST)))
    gateway.add(endpoint("vectors-2", entity(base=vendor.url, key=FIRST, task=Task.EMBEDDINGS)))
    assert gateway.query("first").status_code == 200
    assert gateway.query("vectors-2", {"input": "x"}).status_code == 200
    gateway.query("first", {**CHAT, "stream": True})
    assert len(vendor.seen) == 1


def test_token_requests_and_queries_use_separate_connections(gateway: GatewayServer, vendor: Vendor):
    """A token server gets its credentials in the body, so the pool cannot tell them apart, and a late token for one tenant could reach another."""
    gateway.publish(
        azure("first", vendor, "tenant-1", FIRST),
        azure("second", vendor, "tenant-2", SECOND_NS),
        addresses=Addresses({"microsoft-entra": vendor.url}),
    )
    for _ in range(3):
        for name in ("first", "second"):
            assert gateway.query(name).status_code == 200
    marks = ("tenant-1", "Bearer token-0", "tenant-2", "Bearer token-1")
    assert vendor.received_marks(*marks) == [set(marks[:2]), set(marks[2:])]


def test_requests_with_different_query_strings_share_no_connection(vendor: Vendor):
    async def run() -> list[int]:
        async with running() as client:
            return [await connection_number(client, f"{vendor.url}/?key={key}") for key in "ABAB"]

    assert asyncio.run(run()) == [0, 1, 0, 1]


def test_signed_requests_share_a_connection_if_their_keys_are_the_same(vendor: Vendor):
    async def run() -> list[int]:
        found = []
        async with running() as client:
            for number, key in enumerate("ABAB"):
                auth = AwsSigV4(
                    "bedrock", "us-east-1", Secret.from_plaintext(key), Secret.from_plaintext("s")
                )
                found.append(
                    await connection_number(
                        client, vendor.url, auth=auth, authorization=f"signature-{number}"
                    )
                )
        return found

    assert asyncio.run(run()) == [0, 1, 0, 1]


def test_an_unsolicited_late_reply_is_discarded(gateway: GatewayServer, vendor: Vendor):
    vendor.late = answer(99)
    gateway.add(endpoint("first", entity(base=vendor.url, key=FIRST)))
    assert gateway.query("first").json()["connection"] == 0
    vendor.go.set()
    assert vendor.sent.wait(DEADLINE)
    assert [gateway.query("first").json()["connection"] for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_an_unsolicited_reply_that_the_event_loop_has_not_read_yet_is_discarded(vendor: Vendor, loop: Any):
    """The next request is sent before the event loop reads the bytes that have arrived."""
    vendor.late = answer(99)

    async def run() -> list[int]:
        async with running() as client:
            first = await connection_number(client, vendor.url)
            vendor.go.set()
            assert vendor.sent.wait(DEADLINE)
            return [
                first,
                await connection_number(client, vendor.url),
                await connection_number(client, vendor.url),
            ]

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(run()) == [0, 1, 1]


def test_the_number_of_idle_connections_is_bounded(vendor: Vendor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "MAX_IDLE", 40)

    async def run() -> None:
        async with running() as client:
            for number in range(1500):
                await connection_number(client, vendor.url, authorization=f"Bearer {number}")
                assert len(client.pool) <= 40
            opened = len(vendor.seen)
            for number in range(1490, 1500):  # the oldest went first
                await connection_number(client, vendor.url, authorization=f"Bearer {number}")
            assert len(vendor.seen) == opened
            assert len(client.pool._by_key) == len(client.pool) == 40
            client.pool.sweep(now=1e12)
            assert (client.pool._by_key, len(client.pool)) == ({}, 0)

    asyncio.run(run())
