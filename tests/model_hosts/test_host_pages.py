"""The page Model hosts."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.model_hosts.models import FoundationModel, ModelHost
from tests.endpoints import secret_scenario
from tests.model_hosts.conftest import FakeHost, check
from tests.pages.conftest import a_static_folder, browser, signed_in
from tests.support.pages import Page

__all__ = ["a_static_folder", "browser"]
pytestmark = pytest.mark.django_db(transaction=True)
HOSTS = "/ml/model-hosts"
ADD = f"{HOSTS}/add"
EDIT = f"{HOSTS}/gpu/edit"


@pytest.fixture
def of_admin(admin: User) -> Client:
    return signed_in(admin)


def submit(client: Client, address: str, **typed: str) -> Any:
    fields = Page(client.get(address)).fields()
    return client.post(address, {**fields, **typed})


@pytest.fixture
def host(of_admin: Client, fake: FakeHost) -> ModelHost:
    assert submit(of_admin, ADD, name="gpu", base_url=fake.base_url).status_code == 303
    return ModelHost.objects.get()


def test_an_admin_adds_a_server_and_sees_its_state(of_admin: Client, host: ModelHost, fake: FakeHost):
    page = Page(of_admin.get(HOSTS))
    assert "Not checked" in page.text
    check(host)
    page = Page(of_admin.get(HOSTS))
    assert "Online" in page.text
    assert "OpenAI-compatible server" in page.text
    fake.answers({}, status=500)
    check(host)
    text = Page(of_admin.get(HOSTS)).text
    assert "Not reachable" in text
    assert "It answered 500" in text


def test_a_refused_form_says_why_beside_the_input_and_shows_no_key(of_admin: Client, fake: FakeHost):
    refused = submit(of_admin, ADD, name="a b", base_url="nonsense", secret_plaintext="typed-key")
    assert refused.status_code == 422
    page = Page(refused)
    assert set(page.errors()) >= {"name"}
    assert page.fields()["name"] == "a b"
    assert "typed-key" not in refused.content.decode()
    again = submit(of_admin, ADD, name="gpu", base_url="nonsense")
    assert "base_url" in Page(again).errors()
    assert not ModelHost.objects.exists()


def test_a_name_that_is_taken(of_admin: Client, host: ModelHost, fake: FakeHost):
    again = submit(of_admin, ADD, name="gpu", base_url=fake.base_url)
    assert again.status_code == 422
    assert "exists already" in str(Page(again).errors()["name"])


def test_an_admin_edits_a_host_and_the_secret_is_kept(of_admin: Client, fake: FakeHost, owner: User):
    secret_scenario.make_scope(owner)
    submit(of_admin, ADD, name="gpu", base_url=fake.base_url, secret=secret_scenario.REFERENCE)
    assert Page(of_admin.get(EDIT)).fields()["secret"] == secret_scenario.REFERENCE
    assert submit(of_admin, EDIT, models="llama-3.1-8b\ne5 embeddings").status_code == 303
    host = ModelHost.objects.get()
    assert host.named_models == [
        {"name": "llama-3.1-8b", "task": "llm/v1/chat"},
        {"name": "e5", "task": "llm/v1/embeddings"},
    ]
    assert (host.revision, host.secret_reference) == (1, secret_scenario.REFERENCE)
    assert Page(of_admin.get(EDIT)).fields()["models"] == "llama-3.1-8b chat\ne5 embeddings"


def test_a_pasted_key_is_kept_unless_the_address_changes(of_admin: Client, fake: FakeHost):
    submit(of_admin, ADD, name="gpu", base_url=fake.base_url, secret_plaintext="typed-key")
    assert submit(of_admin, EDIT, prefix="house").status_code == 303
    refused = submit(of_admin, EDIT, base_url="http://127.0.0.1:9/v1")
    assert refused.status_code == 422
    assert "Give the secret again" in str(Page(refused).errors()["secret"])
    assert submit(of_admin, EDIT, base_url="http://127.0.0.1:9/v1", secret_plaintext="new").status_code == 303
    host = ModelHost.objects.get()
    assert (host.base_url, host.prefix, host.revision) == ("http://127.0.0.1:9/v1", "house", 2)


def test_an_account_at_a_provider(of_admin: Client, fake: FakeHost, settings: Any):
    choice = f"{ADD}?kind=provider"
    assert "Anthropic" in Page(of_admin.get(choice)).text
    address = f"{choice}&provider=anthropic"
    refused = submit(of_admin, address, name="house")
    assert "account__anthropic_api_key" in Page(refused).errors()
    made = submit(of_admin, address, name="house", account__anthropic_api_key_plaintext="typed-key")
    assert made.status_code == 303
    settings.PROVIDER_ADDRESSES = {"anthropic": fake.server.url}
    check(ModelHost.objects.get())
    assert b"x-api-key: typed-key" in fake.requests[-1]
    assert submit(of_admin, f"{HOSTS}/house/edit", prefix="claude").status_code == 303
    host = ModelHost.objects.get()
    assert (host.prefix, host.revision) == ("claude", 1)


def test_the_fields_of_a_provider_follow_its_choices(of_admin: Client):
    address = f"{ADD}?kind=provider&provider=openai"
    redrawn = submit(of_admin, address, name="azure", account__openai_api_type="azure", _redraw="1")
    assert redrawn.status_code == 200
    fields = Page(redrawn).fields()
    assert fields["name"] == "azure"
    assert "account__openai_deployment_name" in fields
    assert not ModelHost.objects.exists()


def test_an_admin_checks_and_deletes_a_host(of_admin: Client, host: ModelHost):
    checked = check(host)
    assert of_admin.post(f"{HOSTS}/gpu/check").status_code == 303
    assert ModelHost.objects.get().next_check_at < checked.next_check_at
    assert "2 models" in Page(of_admin.get(f"{HOSTS}/gpu/delete")).text
    assert of_admin.post(f"{HOSTS}/gpu/delete").status_code == 303
    assert not FoundationModel.objects.exists()
    assert "No model hosts yet" in Page(of_admin.get(HOSTS)).text


@pytest.mark.parametrize("path", ["", "/add", "/gpu/edit", "/gpu/delete"])
def test_only_admins_open_the_pages(browser: Client, host: ModelHost, path: str):
    assert browser.get(HOSTS + path).status_code == 403
    assert browser.post(f"{HOSTS}/gpu/delete").status_code == 403
    assert "Model hosts" not in Page(browser.get("/ml/endpoints")).text


@pytest.mark.parametrize("query", ["?kind=local", "?kind=x"])
def test_a_kind_that_nobody_adds(of_admin: Client, query: str):
    assert of_admin.get(ADD + query).status_code == 400
