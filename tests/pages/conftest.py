"""Clients of signed-in people, and endpoints in every state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.endpoints.lifecycle import Trigger
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.transitions import drop, succeed
from serving_ui.lib import clock

HTMX = {"HX-Request": "true"}
CREATE, FIELDS = "/ml/endpoints/create", "/ml/endpoints/create/fields"


@pytest.fixture(autouse=True)
def a_static_folder(settings: Any) -> None:
    """Creates an empty static folder: WhiteNoise warns when there is none, and warnings are errors in tests."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def browser(owner: User) -> Client:
    """The client of the owner, who is signed in."""
    return signed_in(owner)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def settle(endpoint: Endpoint, outcome: str, message: str = "") -> Endpoint:
    """Ends the running update as a worker does. `outcome` is active, failed or canceled."""
    endpoint = Endpoint.objects.select_related("pending", "creator").get(pk=endpoint.pk)
    assert endpoint.pending
    if outcome == "active":
        succeed(endpoint, endpoint.pending, now=clock.now())
    else:
        trigger = Trigger.FAIL if outcome == "failed" else Trigger.CANCEL
        drop(endpoint, trigger, message=message, actor=endpoint.creator, now=clock.now())
    return endpoint


@pytest.fixture
def ready(make_endpoint: Callable[..., Endpoint]) -> Endpoint:
    """An endpoint named `chat` whose first config is active."""
    return settle(make_endpoint(), "active")


def openai(**more: Any) -> dict[str, Any]:
    """The fields of a valid create form for OpenAI, changed by `more`."""
    return {
        "name": "my-chat",
        "provider": "openai",
        "task": "llm/v1/chat",
        "openai__external_model_name": "gpt-4o",
        "openai__openai_api_type": "openai",
        "openai__openai_api_key_plaintext": "sk-typed-by-hand",
    } | more
