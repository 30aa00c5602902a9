"""Requests that the gateway refuses itself: the status and message of each."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.session_tokens import make_session_token
from serving_ui.gateway.snapshot import Entity, TokenEntry
from serving_ui.lib.request import QUERY_BODY
from tests.gateway.conftest import CHAT, OWNER, STRANGER, GatewayServer, endpoint, entity
from tests.support.sandbox import SandboxServer


@pytest.mark.parametrize("token", [None, "wrong", "sup_nonsense", "sup_a.b", ""])
def test_a_query_without_a_valid_token_is_401(gateway: GatewayServer, token: str | None):
    answer = gateway.query(token=token)
    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")


def test_an_expired_token_is_401(gateway: GatewayServer):
    tokens = dict(gateway.holder.current.tokens)
    tokens[sha256(b"old").digest()] = TokenEntry(OWNER, expires_at=time.time() - 1)
    tokens[sha256(b"young").digest()] = TokenEntry(OWNER, expires_at=time.time() + 60)
    gateway.publish(tokens=tokens)
    assert gateway.query(token="old").status_code == 401
    assert gateway.query(token="young").status_code == 200


def test_a_session_token_may_query_what_its_user_may_query(gateway: GatewayServer):
    key = gateway.holder.current.session_token_key

    def status(user_id: str, *, key: bytes = key, seconds: float = 60) -> int:
        value = make_session_token(key=key, user_id=user_id, expires=time.time() + seconds)
        return gateway.query(token=value).status_code

    assert status(OWNER.id) == 200
    assert status(STRANGER.id) == 404
    assert status("unknown") == 401
    assert status(OWNER.id, seconds=-1) == 401
    assert status(OWNER.id, key=b"another") == 401


def test_no_session_token_is_valid_without_a_signing_key(gateway: GatewayServer):
    value = make_session_token(
        key=gateway.holder.current.session_token_key, user_id=OWNER.id, expires=time.time() + 60
    )
    gateway.publish(session_token_key=b"")
    assert gateway.query(token=value).status_code == 401


def test_an_endpoint_without_any_right_is_answered_like_a_missing_one(gateway: GatewayServer):
    hidden, missing = gateway.query(token="token-stranger"), gateway.query("nothing", token="token-stranger")
    assert (hidden.status_code, hidden.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert hidden.json()["message"] == missing.json()["message"].replace("nothing", "chat")
    assert gateway.query(token="token-admin").status_code == 200


def test_a_viewer_without_the_right_to_query_is_403(gateway: GatewayServer):
    chat = gateway.holder.current.endpoints["chat"]
    gateway.publish(replace(chat, viewers=frozenset({STRANGER.id})))
    answer = gateway.query(token="token-stranger")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")


def test_an_endpoint_that_is_not_ready_is_400_with_the_reason(gateway: GatewayServer):
    chat = gateway.holder.current.endpoints["chat"]
    gateway.publish(replace(chat, ready=False, entities=(), problem="The provider refused the key."))
    answer = gateway.query()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"] == "Endpoint chat is not ready. The provider refused the key."
    # A wrong task is not reported, because an endpoint without a config has no task.
    early = gateway.post("embeddings", {"model": "chat", "input": "a"})
    assert early.json()["message"] == answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "body", "word"),
    [
        ("chat", {}, "messages"),
        ("chat", {"prompt": "x"}, "messages"),
        ("chat", {"messages": "hello"}, "messages"),
        ("chat", {"messages": []}, "messages"),
        ("text", {"messages": []}, "prompt"),
        ("text", {"prompt": 7}, "prompt"),
        ("vectors", {"text": "x"}, "input"),
        ("chat", {**CHAT, "stream": "yes"}, "stream"),
        ("vectors", {"input": "a", "stream": True}, "stream"),
        ("chat", {**CHAT, "extra_params": "x"}, "extra_params"),
    ],
)
def test_a_body_that_does_not_fit_the_task_is_refused_by_field(
    gateway: GatewayServer, name: str, body: Any, word: str
):
    answer = gateway.query(name, body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert word in answer.json()["message"]
    assert answer.json()["message"].endswith(".")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'"text"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}']
)
def test_a_body_that_is_not_a_json_object_is_refused(gateway: GatewayServer, content: bytes):
    answer = gateway.query(body=content)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_sixteen_megabytes_is_refused(
    gateway: GatewayServer, sandbox: SandboxServer, chunked: bool
):
    content = b'{"messages": [{"role": "user", "content": "' + b"x" * QUERY_BODY.max_bytes + b'"}]}'
    if chunked:
        headers = {"Authorization": "Bearer token-owner"}
        url = f"{gateway.url}/serving-endpoints/chat/invocations"
        parts = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
        answer = requests.post(url, data=parts, headers=headers, timeout=60)
    else:
        answer = gateway.query(body=content)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "16 MB" in answer.json()["message"]
    assert "SERVING_UI_QUERY_BODY_BYTES" in answer.json()["message"]
    assert (gateway.usage.last.status, gateway.usage.last.endpoint) == (400, "chat")
    assert sandbox.requests() == []


def test_an_image_within_a_query_is_passed_on(gateway: GatewayServer, sandbox: SandboxServer):
    """15 MB of it."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBO" * 3_900_000}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    assert gateway.query(body={"messages": messages}).status_code == 200
    (request,) = sandbox.requests("chat/completions")
    assert request["body"]["messages"] == messages


@pytest.mark.parametrize("path", ["chat/invocations", "chat/completions"])
@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_query_is_read(
    gateway: GatewayServer, sandbox: SandboxServer, path: str, coding: str, encode: Callable[[bytes], bytes]
):
    content = encode(json.dumps({**CHAT, "model": "chat"}).encode())
    answer = gateway.post(
        path, content, headers={"Content-Encoding": coding, "Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert sandbox.requests()[0]["body"]["messages"] == CHAT["messages"]


def test_a_query_that_is_too_large_when_decompressed_is_refused(gateway: GatewayServer):
    content = gzip.compress(b'{"messages": ["' + b"x" * QUERY_BODY.max_bytes + b'"]}')
    answer = gateway.query(body=content, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "16 MB" in answer.json()["message"]
    assert gateway.usage.last.status == 400


def test_two_authorization_headers_are_refused(gateway: GatewayServer):
    """It would be unclear which one counts: a proxy before the gateway may have checked the other."""
    caller = HTTPConnection(gateway.url.removeprefix("http://"), timeout=60)
    caller.putrequest("GET", "/serving-endpoints/models")
    for token in ("nonsense", "token-owner"):
        caller.putheader("Authorization", f"Bearer {token}")
    caller.putheader("X-Other", "a")
    caller.putheader("X-Other", "b")
    caller.endheaders()
    answer = caller.getresponse()
    assert answer.status == 400
    assert "Authorization more than once" in json.loads(answer.read())["message"]
    caller.close()


def test_a_model_must_be_named_on_the_openai_paths(gateway: GatewayServer):
    assert "model" in gateway.post("chat/completions", CHAT).json()["message"]
    assert gateway.post("chat/completions", {"model": "nothing", **CHAT}).status_code == 404


@pytest.mark.parametrize("path", ["chat", "chat/other", "", "chat/served-models/entity-1"])
def test_other_paths_are_404_as_json(gateway: GatewayServer, path: str):
    answer = gateway.post(path, CHAT)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")


def test_a_task_that_the_provider_does_not_have_answers_501(gateway: GatewayServer):
    without = next(each for each in PROVIDERS.values() if Task.EMBEDDINGS not in each.wire_formats)
    served = Entity("e", without.name, "model", Task.EMBEDDINGS, without.config.model_construct())
    gateway.publish(endpoint("other", served))
    answer = gateway.query("other", {"input": "x"})
    assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_a_key_that_is_no_valid_header_value_is_refused(gateway: GatewayServer, sandbox: SandboxServer):
    served = entity(base=sandbox.base)
    object.__setattr__(served.config, "openai_api_key", Secret.from_plaintext("sk-a\r\nX-Evil: 1"))
    gateway.publish(endpoint("chat", served))
    answer = gateway.query()
    assert answer.status_code == 400
    assert "Evil" not in answer.text
    assert sandbox.requests() == []
