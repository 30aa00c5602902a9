"""Callers of the API with the access tokens of test users."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import User
from serving_ui.lib import clock
from tests.endpoints.conftest import deployed, sandbox, sandbox_server
from tests.pages.conftest import a_static_folder

__all__ = ["a_static_folder", "deployed", "sandbox", "sandbox_server"]
API = "/api/2.0"
ENDPOINTS = f"{API}/serving-endpoints"


class Reply:
    """A response, whose body is JSON if `body` or `error` is read."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status_code
        self.headers = response.headers
        streamed = isinstance(response, StreamingHttpResponse)
        self.content: bytes = b"".join(response) if streamed else response.content

    @property
    def body(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/json"
        read = json.loads(self.content)
        assert isinstance(read, dict)
        return read

    @property
    def error(self) -> tuple[int, str]:
        """Status and error code of a refusal. Fails if it has no message."""
        assert self.body["message"]
        return self.status, self.body["error_code"]


class Caller:
    """Sends requests with one token. Paths are relative to /api/2.0."""

    def __init__(self, token: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client()

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return Reply(
            self.client.generic(method, API + path, data, content_type="application/json", headers=sent)
        )

    def request_json(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """Send a request; returns the body. Fails unless the status is 200."""
        reply = self.request(method, path, body, **headers)
        assert reply.status == 200, reply.content
        return reply.body

    def get(self, path: str) -> dict[str, Any]:
        return self.request_json("GET", path)


def caller(user: User) -> Caller:
    """A caller with a new token of the user."""
    return Caller(create_access_token(user=user, now=clock.now())[1])


@pytest.fixture
def api(owner: User) -> Caller:
    """A caller with the owner's token."""
    return caller(owner)


@pytest.fixture
def anonymous() -> Caller:
    return Caller(None)


@pytest.fixture
def as_admin(admin: User) -> Caller:
    return caller(admin)


@pytest.fixture
def as_stranger(stranger: User) -> Caller:
    return caller(stranger)


Calling = Callable[[User], Caller]


@pytest.fixture
def calling() -> Iterator[Calling]:
    """A function that makes a caller of a user."""
    yield caller
