"""GET, HEAD and OPTIONS of any address by anybody change no row of the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import get_resolver

from serving_ui.accounts.commands import create_access_token, create_sign_in_link
from serving_ui.accounts.models import Group, User
from serving_ui.api.urls import OPERATIONS
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.model_hosts import commands
from serving_ui.model_hosts.host_spec import HostSpec
from serving_ui.pages.http import MessageCookie
from serving_ui.registered_models.commands import register
from serving_ui.vault import commands as vault
from tests.architecture.test_policies import routes
from tests.pages.conftest import a_static_folder, settle, signed_in

__all__ = ["a_static_folder"]
QUERIES = (
    "?tab=versions&config=pending&max_results=1&cursor=",
    "?key=openai&scope=keys&principal=owner@example.com&endpoint=chat&next=/ml/secrets",
    "?next=x",
)
HOST = HostSpec(name="gpu", base_url="http://127.0.0.1:9/v1")
REQUESTS = (("GET", ""), ("HEAD", ""), ("OPTIONS", ""), *(("GET", query) for query in QUERIES))
KNOWN_MODEL: dict[str, Any] = {
    "name": "known",
    "kind": "deployment",
    "location": "team.models:Known",
}
NEVER_READ = {
    "/",
    "/sign-out",
    "/ml/endpoints/create/fields",
    "/ml/local-models/start",
    "/ml/local-models/stop",
    "/ml/model-hosts/gpu/check",
    "/ml/secrets/scopes",
    "/ml/secrets/keys/put",
} | {
    f"/ml/endpoints/chat/{each}"
    for each in ("logs", "edit/fields", "cancel", "retry", "stop", "start", "take-over", "permissions")
}  # the first redirects, an endpoint of external models has no logs, the others accept only POST


def all_rows() -> dict[str, list[Any]]:
    """Every row of every table."""
    return {
        model._meta.label: sorted(model._base_manager.values(), key=str)
        for model in apps.get_models(include_auto_created=True)
    }


@pytest.fixture
def addresses(owner: User, admin: User, make_endpoint: Callable[..., Endpoint]) -> list[str]:
    """The path of every route with GET, with existing objects as its parameters."""
    endpoint = settle(make_endpoint(), "failed")
    vault.create_scope(name="keys", actor=owner, now=clock.now())
    vault.put_secret(scope="keys", key="openai", value="v", actor=owner, now=clock.now())
    token, _value = create_access_token(user=owner, now=clock.now())
    program = User.objects.create(email="a-program", kind=User.Kind.SERVICE_PRINCIPAL)
    register(new=NewModelVersion(**KNOWN_MODEL), actor=admin, now=clock.now())
    commands.create_host(spec=HOST, actor=admin, now=clock.now())
    known = {
        "host": "gpu",
        "name": "chat",
        "served_model_name": "entity",
        "model_name": "known",
        "model_version": "1",
        "scope": "keys",
        "value": create_sign_in_link(user=owner, now=clock.now()).removeprefix("/welcome/"),
    }
    special = {
        "docs/api/": {"name": OPERATIONS[0].name},
        "docs/": {"name": "secrets"},
        "permissions/": {"id": endpoint.pk},
        "ml/model-hosts": {"name": "gpu"},
        "ml/models": {"name": "known", "version": "1"},
        "token": {"id": token.pk},
        "Users": {"id": owner.pk},
        "ServicePrincipals": {"id": program.pk},
        "Groups": {"id": Group.built_in("users").pk},
    }
    found = []
    for address, view in routes(get_resolver()):
        if address.endswith("/") or "GET" not in getattr(view, "operations", ("GET",)):
            continue
        filled = address
        own = next((special[each] for each in special if each in address), {})
        for name, value in {**known, **own}.items():
            filled = filled.replace(f"<str:{name}>", value)
        assert "<" not in filled
        found.append("/" + filled)
    return found


def callers(owner: User, admin: User) -> list[Client]:
    """Clients of nobody, a person and an admin for pages, and of the person and the admin for the API."""
    found = [Client(), signed_in(owner), signed_in(admin)]
    for user in (owner, admin):
        _token, value = create_access_token(user=user, now=clock.now())
        found.append(Client(headers={"Authorization": f"Bearer {value}"}))
    return found


def test_get_head_and_options_change_no_row(addresses: list[str], owner: User, admin: User):
    clients = callers(owner, admin)
    # A message waits for the next page.
    reply = clients[1].post("/ml/secrets/keys/put", {"key": "openai", "value": "v"})
    assert reply.cookies[MessageCookie.cookie_name].value
    before = all_rows()
    read = set()
    for client in clients:
        for address in addresses:
            for method, query in REQUESTS:
                answer = client.generic(method, address + query)
                assert answer.status_code < 500
                if answer.status_code == 200:
                    read.add(address)
        assert all_rows() == before
    assert set(addresses) - read == NEVER_READ
