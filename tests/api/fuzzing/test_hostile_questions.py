"""The gateway's operations, which no Django answers: nothing that a caller sends is an error of ours there either."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import requests

from serving_ui.api.operation import Operation
from serving_ui.api.reference.programs import EXAMPLE, example_body
from serving_ui.api.urls import OPERATIONS
from tests.api.fuzzing.conftest import API, Server
from tests.api.hostile import TEXTS, addresses, spoilt

THERE = [
    each for each in OPERATIONS if "/invocations" in each.path or each.path.startswith("/serving-endpoints/")
]
KNOWN = {"name": "known", "served_model_name": "known-entity"}
BROKEN = [
    b"\xff",
    b"{",
    b"[]",
    b"null",
    b'"a"',
    b"1",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"model": NaN}',
    b"\x00" * 9,
]


@pytest.mark.parametrize("operation", THERE, ids=lambda each: each.name)
def test_no_question_is_an_error_of_ours(operation: Operation, server: Server):
    server.furnish()
    right, *wrong = [at(operation, parts) for parts in addresses(operation, KNOWN)]
    plain = example_body(operation, EXAMPLE) or {}
    bodies = [spelled(body) for _what, body in spoilt(plain, operation.body)] if operation.body else []
    cases = [*((path, spelled(plain)) for path in wrong), *((right, body) for body in [*BROKEN, *bodies])]
    with requests.Session() as session:
        session.headers.update(server.headers("admin"))
        for path, body in cases:
            reply = session.request(operation.method, server.url + path, data=body, timeout=30)
            assert reply.status_code < 500, (path[:200], body[:200], reply.text[:300])


def spelled(body: object) -> bytes:
    return json.dumps(body).encode()


def at(operation: Operation, parts: dict[str, str]) -> str:
    return operation.path.format(
        **{name: quote(text[:20_000], safe="", errors="surrogatepass") for name, text in parts.items()}
    )


@pytest.mark.parametrize("path", ["/serving-endpoints/models", f"{API}/serving-endpoints"])
@pytest.mark.parametrize(
    "name", ["Authorization", "Idempotency-Key", "Cookie", "Accept", "Content-Type", "Host"]
)
def test_no_header_is_an_error_of_ours(path: str, name: str, server: Server):
    for text in TEXTS:
        value = text[:8000].encode(errors="surrogatepass").strip().translate(None, b"\x00\r\n")
        reply = requests.get(server.url + path, headers={**server.headers("admin"), name: value}, timeout=30)
        assert reply.status_code < 500, (text[:80], reply.text[:300])
