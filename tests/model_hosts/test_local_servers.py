"""Servers at their usual ports of this machine, which an admin adds with one click."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.model_hosts import local_servers
from serving_ui.model_hosts.models import ModelHost
from tests.model_hosts.conftest import FakeHost
from tests.pages.conftest import a_static_folder, signed_in
from tests.support.pages import Page
from tests.support.waiting import free_port

__all__ = ["a_static_folder"]
pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "/ml/model-hosts/servers"


@pytest.fixture(autouse=True)
def usual_ports(monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    """Of the tests: one at which a server answers, and one at which none does."""
    port = int(fake.server.url.rpartition(":")[2])
    monkeypatch.setattr(local_servers, "USUAL_PORTS", {"LM Studio": port, "vLLM": free_port()})


def test_one_click_adds_a_server_that_answers(admin: User, fake: FakeHost):
    client = signed_in(admin)
    page = Page(client.get(ADDRESS))
    assert "Add LM Studio (2 models)" in page.text
    assert "vLLM" not in page.text
    assert client.post("/ml/model-hosts/add", page.fields()).status_code == 303
    host = ModelHost.objects.get()
    assert (host.name, host.base_url) == ("lm-studio", fake.base_url)
    assert "No other server answers" in Page(client.get(ADDRESS)).text


def test_a_name_that_is_taken_gets_a_number(admin: User, add_host: Any):
    add_host("lm-studio", base_url="http://127.0.0.1:9/v1")
    assert [each.name for each in local_servers.find_servers(actor=admin)] == ["lm-studio-2"]


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_what_gives_no_list_of_models_is_not_offered(admin: User, fake: FakeHost, status: int):
    fake.answers({"nonsense": 1}, status=status)
    assert local_servers.find_servers(actor=admin) == []


def test_the_outbound_policy_decides(admin: User, settings: Any):
    settings.EGRESS_LOOPBACK, settings.EGRESS_LISTED = False, ()
    assert local_servers.find_servers(actor=admin) == []


def test_only_admins_see_it(owner: User):
    assert signed_in(owner).get(ADDRESS).status_code == 403
    assert Client().get(ADDRESS).status_code in (302, 303)
