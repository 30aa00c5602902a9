"""A program that calls the API with the token of a person, and endpoints to call it about."""

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
    """What came back, which is always JSON unless said otherwise."""

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
        """Status and code of a refusal, which also has a sentence."""
        assert self.body["message"]
        return self.status, self.body["error_code"]


class Caller:
    """One program. A path starts below /api/2.0."""

    def __init__(self, token: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client()

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return Reply(
            self.client.generic(method, API + path, data, content_type="application/json", headers=sent)
        )

    def done(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The body of an answer that must be 200."""
        reply = self.request(method, path, body, **headers)
        assert reply.status == 200, reply.content
        return reply.body

    def get(self, path: str) -> dict[str, Any]:
        return self.done("GET", path)


def caller(user: User) -> Caller:
    """A program with a token of the person's."""
    return Caller(create_access_token(user=user, now=clock.now())[1])


@pytest.fixture
def api(owner: User) -> Caller:
    """The owner's program."""
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
    """Makes a program of any person."""
    yield caller
