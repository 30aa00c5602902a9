"""Queries leave no reference cycles: those would stay until a garbage collection, which delays all other queries."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.support.garbage import garbage
from tests.support.sandbox import SandboxServer
from tests.support.waiting import free_port, wait_until

STREAM = {**CHAT, "stream": True}
TIMES = 5
Query = Callable[[GatewayServer, SandboxServer], object]


def whole(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    gateway.query()


def stream(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    gateway.query(body=STREAM)


def nonsense(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    gateway.query(body=b"{")


def failing(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(status=500)
    gateway.query()


def limited(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(status=429)
    gateway.query()


def cut(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(cut_after=3)
    gateway.query(body=STREAM)


def cut_early(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(cut_after=0)
    gateway.query(body=STREAM)


def stream_error(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(failed_after=2)
    gateway.query(body=STREAM)


def early_stream_error(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(failed_after=0)
    gateway.query(body=STREAM)


def left(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    sandbox.set_faults(pause=0.1)
    with gateway.query(body=STREAM, stream=True) as answer:
        assert json.loads(next(answer.iter_lines()).removeprefix(b"data: "))["choices"]


def unreachable(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    gateway.publish(endpoint("chat", entity(base=f"http://127.0.0.1:{free_port()}/v1")))
    gateway.query()


def unresolved(gateway: GatewayServer, sandbox: SandboxServer) -> None:
    gateway.publish(endpoint("chat", entity(base="http://nowhere.invalid/v1")))
    gateway.query()


@pytest.mark.parametrize(
    "query",
    [
        *(whole, stream, nonsense, failing, limited, unreachable, unresolved),
        *(cut, cut_early, stream_error, early_stream_error, left),
    ],
)
def test_a_query_leaves_no_reference_cycles(gateway: GatewayServer, sandbox: SandboxServer, query: Query):
    query(gateway, sandbox)  # creates what is cached
    with garbage(TIMES) as found:
        for _ in range(TIMES):
            query(gateway, sandbox)
        wait_until(lambda: len(gateway.usage.records) == 1 + TIMES)
    assert not found
