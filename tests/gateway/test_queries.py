"""Queries: the request that the provider gets, and the answer that the caller gets."""

from __future__ import annotations

import base64
import struct

import pytest
import requests

from serving_ui.catalogue.tasks import Task
from tests.gateway.conftest import CANARY, CHAT, OWNER, GatewayServer, endpoint, entity
from tests.support.raw_server import raw_server
from tests.support.sandbox import SandboxServer


def test_a_chat_query_is_answered(gateway: GatewayServer, sandbox: SandboxServer):
    answer = gateway.query()

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["object"] == "chat.completion"
    assert "Say hello." in answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["usage"]["total_tokens"] > 0
    (request,) = sandbox.requests()
    assert request["key"] == CANARY
    assert request["body"]["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [("text", {"prompt": "Once upon"}, "text_completion"), ("vectors", {"input": ["a", "b"]}, "list")],
)
def test_completions_and_embeddings_are_answered(
    gateway: GatewayServer, name: str, body: dict[str, object], kind: str
):
    answer = gateway.query(name, body)
    assert (answer.status_code, answer.json()["object"]) == (200, kind)


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("chat/completions", "chat", CHAT),
        ("completions", "text", {"prompt": "Once upon"}),
        ("embeddings", "vectors", {"input": "a"}),
    ],
)
def test_the_openai_paths_name_the_endpoint_in_model(
    gateway: GatewayServer, path: str, name: str, body: dict[str, object]
):
    answer = gateway.post(path, {"model": name, **body})
    assert answer.status_code == 200
    assert answer.json() == gateway.query(name, body).json()


def test_a_served_entity_can_be_addressed(gateway: GatewayServer):
    assert gateway.post("chat/served-models/entity-1/invocations", CHAT).status_code == 200
    assert gateway.post("chat/served-models/other/invocations", CHAT).status_code == 404


def test_embeddings_have_the_requested_encoding(gateway: GatewayServer):
    plain = gateway.query("vectors", {"input": "a", "dimensions": 8}).json()["data"][0]["embedding"]
    packed = gateway.query("vectors", {"input": "a", "dimensions": 8, "encoding_format": "base64"})
    assert struct.unpack("8f", base64.b64decode(packed.json()["data"][0]["embedding"])) == pytest.approx(
        plain
    )


def test_headers_name_the_served_entity_and_the_overhead_of_the_gateway(
    gateway: GatewayServer, sandbox: SandboxServer
):
    sandbox.set_faults(latency=1.5)
    answer = gateway.query(headers={"X-Request-Id": "my-id-1"})
    assert answer.headers["served-model-name"] == "entity-1"
    assert answer.headers["x-request-id"] == "my-id-1"
    assert 0 < float(answer.headers["x-gateway-overhead-ms"]) < 1500


def test_an_invalid_request_id_is_replaced(gateway: GatewayServer):
    assert len(gateway.query(headers={"X-Request-Id": "no spaces allowed"}).headers["x-request-id"]) == 32


def test_fields_for_the_gateway_are_not_passed_on(gateway: GatewayServer, sandbox: SandboxServer):
    body = {
        **CHAT,
        "client_request_id": "x",
        "usage_context": {"team": "a"},
        "extra_params": {"seed": 7},
        "future": [1],
    }
    assert gateway.query(body=body).status_code == 200
    (request,) = sandbox.requests()
    assert request["body"] == {**CHAT, "model": "gpt-4o", "seed": 7, "future": [1]}
    assert "token-owner" not in str(request)


def test_the_models_list_contains_the_endpoints_that_the_caller_may_query(
    gateway: GatewayServer, sandbox: SandboxServer
):
    open_one = endpoint("open", entity(base=sandbox.base), everyone=True, users=frozenset())
    gateway.publish(open_one, *gateway.holder.current.endpoints.values())

    def names(token: str) -> list[str]:
        url = f"{gateway.url}/serving-endpoints/models"
        listing = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60).json()
        return [each["id"] for each in listing["data"]]

    assert names("token-owner") == ["chat", "open", "text", "vectors"]
    assert names("token-stranger") == ["open"]
    assert names("token-admin") == ["chat", "open", "text", "vectors"]


def test_connections_to_the_provider_are_reused(gateway: GatewayServer):
    with raw_server() as server:
        server.answer(b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"choices":[{}]}', close=False)
        gateway.add(endpoint("raw", entity(base=server.url)))
        for _ in range(5):
            assert gateway.query("raw").status_code == 200
        events = b'data: {"choices":[{}]}\n\ndata: [DONE]\n\n'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(
            events
        )
        server.answer(head + events, close=False)
        for _ in range(5):
            assert gateway.query("raw", {**CHAT, "stream": True}).status_code == 200
        assert (server.connections, len(server.requests)) == (1, 10)


def test_a_change_applies_to_the_next_query_and_not_to_running_ones(
    gateway: GatewayServer, sandbox: SandboxServer
):
    from concurrent.futures import ThreadPoolExecutor

    sandbox.hold("chat/completions")
    with ThreadPoolExecutor(8) as callers:
        running = [callers.submit(gateway.query) for _ in range(4)]
        sandbox.wait_for("chat/completions", count=4)
        gateway.publish(endpoint("chat", entity(base=sandbox.base, key="sk-second", name="entity-2")))
        late = [callers.submit(gateway.query) for _ in range(4)]
        sandbox.wait_for("chat/completions", count=8)
        sandbox.release("chat/completions")
        assert {each.result().headers["served-model-name"] for each in running} == {"entity-1"}
        assert {each.result().headers["served-model-name"] for each in late} == {"entity-2"}
    assert sorted(request["key"] for request in sandbox.requests()) == sorted(
        [CANARY] * 4 + ["sk-second"] * 4
    )


def test_each_query_uses_one_config_while_configs_are_replaced(
    gateway: GatewayServer, sandbox: SandboxServer
):
    from concurrent.futures import ThreadPoolExecutor

    def version(number: int) -> None:
        served = entity(base=sandbox.base, key=f"sk-{number}", name=f"entity-{number}")
        gateway.publish(endpoint("chat", served, users=frozenset({OWNER.id})))

    version(0)
    with ThreadPoolExecutor(8) as callers:
        queries = [callers.submit(gateway.query, body={**CHAT, "user": str(n)}) for n in range(120)]
        for number in range(1, 40):
            version(number)
        answers = [each.result() for each in queries]
    assert {answer.status_code for answer in answers} == {200}
    sent = {request["body"]["user"]: request["key"] for request in sandbox.requests("chat/completions")}
    for number, answer in enumerate(answers):
        assert sent[str(number)] == answer.headers["served-model-name"].replace("entity", "sk")


def test_an_openai_path_refuses_an_endpoint_of_another_task(gateway: GatewayServer):
    answer = gateway.post("embeddings", {"model": "chat", "input": "a"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json()["message"].endswith("has the task Chat. Use the path chat/completions.")


def test_the_replaced_address_of_a_provider_is_used(gateway: GatewayServer, sandbox: SandboxServer):
    from serving_ui.catalogue.registry import PROVIDERS
    from serving_ui.catalogue.upstream import Addresses
    from serving_ui.gateway.snapshot import Entity

    config = PROVIDERS["sandbox"].config()
    served = Entity(name="s", provider="sandbox", model="sandbox-chat", task=Task.CHAT, config=config)
    gateway.publish(endpoint("built-in", served), addresses=Addresses({"sandbox": sandbox.url}))
    assert gateway.query("built-in").status_code == 200
