"""No hostile value in a request to the gateway causes a server error. The gateway's operations are not part of Django."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import requests

from serving_ui.api.operation import Operation
from serving_ui.api.reference.code_samples import EXAMPLE, example_body
from serving_ui.api.urls import OPERATIONS
from tests.api.fuzzing.conftest import API, Server
from tests.api.hostile_values import TEXTS, bodies_with_hostile_values, path_and_query_values

GATEWAY_OPERATIONS = [
    each for each in OPERATIONS if "/invocations" in each.path or each.path.startswith("/serving-endpoints/")
]
KNOWN = {"name": "known", "served_model_name": "known-entity"}
MALFORMED_BODIES = [
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


@pytest.mark.parametrize("operation", GATEWAY_OPERATIONS, ids=lambda each: each.name)
def test_no_request_to_the_gateway_causes_a_server_error(operation: Operation, server: Server):
    server.ensure_objects()
    right, *wrong = [path_of(operation, parts) for parts in path_and_query_values(operation, KNOWN)]
    plain = example_body(operation, EXAMPLE) or {}
    bodies = (
        [encode(body) for _what, body in bodies_with_hostile_values(plain, operation.body)]
        if operation.body
        else []
    )
    cases = [
        *((path, encode(plain)) for path in wrong),
        *((right, body) for body in [*MALFORMED_BODIES, *bodies]),
    ]
    with requests.Session() as session:
        session.headers.update(server.headers("admin"))
        for path, body in cases:
            reply = session.request(operation.method, server.url + path, data=body, timeout=30)
            assert reply.status_code < 500, (path[:200], body[:200], reply.text[:300])


def encode(body: object) -> bytes:
    return json.dumps(body).encode()


def path_of(operation: Operation, parts: dict[str, str]) -> str:
    return operation.path.format(
        **{name: quote(text[:20_000], safe="", errors="surrogatepass") for name, text in parts.items()}
    )


@pytest.mark.parametrize("path", ["/serving-endpoints/models", f"{API}/serving-endpoints"])
@pytest.mark.parametrize(
    "name", ["Authorization", "Idempotency-Key", "Cookie", "Accept", "Content-Type", "Host"]
)
def test_no_header_causes_a_server_error(path: str, name: str, server: Server):
    for text in TEXTS:
        value = text[:8000].encode(errors="surrogatepass").strip().translate(None, b"\x00\r\n")
        reply = requests.get(server.url + path, headers={**server.headers("admin"), name: value}, timeout=30)
        assert reply.status_code < 500, (text[:80], reply.text[:300])
