"""Fixtures of all tests: an owner, a teammate who is granted rights, a stranger without rights, an admin, and endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import EndpointSpec, parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from tests.support.canary import CANARY


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Render pages without a collected folder of hashed static files."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create(email="owner@example.com")


@pytest.fixture
def teammate(db: None) -> User:
    return User.objects.create(email="teammate@example.com")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create(email="stranger@example.com")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create(email="admin@example.com", is_admin=True)


def openai_body(name: str = "chat", *, base: str = "", model: str = "gpt-4", **extra: Any) -> dict[str, Any]:
    """The body of a create call, as a client of the API sends it."""
    config: dict[str, Any] = {"openai_api_key_plaintext": CANARY}
    if base:
        config["openai_api_base"] = base
    external = {"name": model, "provider": "openai", "task": "llm/v1/chat", "openai_config": config}
    return {
        "name": name,
        "config": {"served_entities": [{"name": "entity", "external_model": external}]},
        **extra,
    }


def spec(name: str = "chat", **options: Any) -> EndpointSpec:
    return parse_endpoint(openai_body(name, **options))


@pytest.fixture
def make_endpoint(owner: User) -> Iterator[Callable[..., Endpoint]]:
    """A function that creates an endpoint of the owner; it is not deployed yet."""

    def make(name: str = "chat", actor: User = owner, **options: Any) -> Endpoint:
        return commands.create_endpoint(spec=spec(name, **options), actor=actor, now=clock.now())

    yield make
