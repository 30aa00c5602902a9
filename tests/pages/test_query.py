"""The query page: its prepared requests, its code samples, and its queries to the gateway over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from serving_ui.accounts.models import User
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.session_tokens import read_session_token
from serving_ui.pages.presenters import samples
from tests.support.asgi_server import RunningServer, serve
from tests.support.pages import Page
from tests.support.waiting import free_port

QUERY = "/ml/endpoints/chat/query"
EVENTS = [
    b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\ndata: {"choices": [{"del',
    b'ta": {"content": "lo"}}]}\n\ndata: [DONE]\n\n',
]


class Upstream:
    """An ASGI application in the place of the gateway, which records the request."""

    def __init__(self) -> None:
        self.received: dict[str, Any] = {}
        self.status, self.content_type, self.pieces = 200, b"text/event-stream", EVENTS

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = (await receive())["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.received = {"path": scope["path"], "headers": headers, "body": body}
        start = {
            "type": "http.response.start",
            "status": self.status,
            "headers": [(b"content-type", self.content_type)],
        }
        await send(start)
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def gateway(upstream: Upstream, settings: Any) -> Iterator[RunningServer]:
    with serve(upstream) as running:
        settings.GATEWAY_URL = running.url
        yield running


def test_the_request_is_prepared_for_the_task(browser: Client, ready):
    page = Page(browser.get(QUERY))
    assert json.loads(page.fields()["request"])["stream"] is True
    assert [tab.text for tab in page.root.all("button", role="tab")] == [
        "Curl",
        "Python (OpenAI client)",
        "Python (MLflow)",
    ]
    assert "Send request" in page.buttons()


@pytest.mark.parametrize("task", list(Task))
def test_every_code_sample_is_valid_and_has_one_place_for_the_token(task):
    for sample in samples.code_samples(name="my-chat", task=task, base="https://serving.example.com"):
        assert "https://serving.example.com" in sample.code
        assert sample.code.count("<token>") == 1
        if sample.key != "curl":
            compile(sample.code, sample.key, "exec")
    assert json.loads(samples.request_body(task))


def test_without_javascript_the_page_contains_the_reply(browser: Client, ready, gateway, upstream, settings):
    page = Page(browser.post(QUERY, {"request": '{"messages": []}'}))
    assert page.id("reply").text == "Hello"
    assert "200 OK" in page.id("reply-meta").text
    assert "[DONE]" in page.id("raw").text
    assert page.fields()["request"] == '{"messages": []}'
    assert upstream.received["path"] == "/serving-endpoints/chat/invocations"
    assert upstream.received["body"] == b'{"messages": []}'
    token = upstream.received["headers"]["authorization"].removeprefix("Bearer ")
    assert read_session_token(key=settings.SESSION_TOKEN_KEY, value=token, now=0) == ready.creator_id
    assert token not in page.html


def test_an_error_is_shown_escaped(browser: Client, ready, gateway, upstream):
    upstream.status, upstream.content_type = 429, b"application/json"
    upstream.pieces = [b'{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"<b>Wait.</b>"}']
    response = browser.post(QUERY, {"request": "{}"})
    assert response.status_code == 200
    assert "429 Too Many Requests" in Page(response).id("reply-meta").text
    assert "<b>Wait" not in response.content.decode()
    assert json.loads(Page(response).id("reply").text)["error_code"] == "REQUEST_LIMIT_EXCEEDED"


def test_an_unreachable_gateway_is_reported(browser: Client, ready, settings):
    settings.GATEWAY_URL = f"http://127.0.0.1:{free_port()}"
    page = Page(browser.post(QUERY, {"request": "{}"}))
    assert "The gateway did not answer." in page.id("reply").text
    assert "502" in page.id("reply-meta").text


def streamed(user: User, headers: dict[str, str]) -> tuple[Any, list[bytes]]:
    """The response and its parts, as a script on the page gets them."""

    async def post() -> tuple[Any, list[bytes]]:
        client = AsyncClient()
        await client.aforce_login(user)
        response: Any = await client.post(QUERY, {"request": "{}"}, headers=headers)
        return response, [piece async for piece in response.streaming_content]

    return async_to_sync(post)()


def test_javascript_gets_a_streamed_reply(ready, owner: User, gateway):
    response, pieces = streamed(owner, {"X-Reply": "stream"})
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    assert b"".join(pieces) == b"".join(EVENTS)


def test_an_html_reply_is_sent_as_plain_text(ready, owner: User, gateway, upstream):
    upstream.content_type, upstream.pieces = b"text/html", [b"<script>alert(1)</script>"]
    response, pieces = streamed(owner, {"X-Reply": "stream"})
    assert response["Content-Type"] == "text/plain"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert pieces == [b"<script>alert(1)</script>"]
