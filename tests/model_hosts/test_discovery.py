"""What a check of a host stores: its health, and the endpoints of its models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent, Workspace
from serving_ui.lib import clock
from serving_ui.lib.changes import ReportedChange, change_reported
from serving_ui.model_hosts import commands, endpoints_of_models
from serving_ui.model_hosts.host_spec import HostChanges
from serving_ui.model_hosts.models import FoundationModel, Health, ModelHost
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.conftest import openai_body
from tests.model_hosts.conftest import FakeHost, age_models, check, deploy, states
from tests.support.raw_server import raw_server

pytestmark = pytest.mark.django_db(transaction=True)
Add = Callable[..., ModelHost]
READY, NOT_READY = "READY", "NOT_READY"
LLAMA, NOMIC = "system-gpu-llama-3-1-8b", "system-gpu-nomic-embed-text"


@pytest.fixture
def online(add_host: Add) -> ModelHost:
    """A host with two models, whose endpoints are ready."""
    host = check(add_host())
    deploy()
    return host


def test_each_model_becomes_an_endpoint_that_everybody_may_query(online: ModelHost, stranger: User):
    assert (online.health, online.error, online.note) == (Health.ONLINE, "", "")
    assert states() == {LLAMA: READY, NOMIC: READY}
    served = SnapshotBuilder().build().endpoints
    assert {name: str(served[name].entities[0].task) for name in states()} == {
        LLAMA: "llm/v1/chat",
        NOMIC: "llm/v1/embeddings",
    }
    assert served[LLAMA].entities[0].model == "llama-3.1-8b"
    row = Endpoint.objects.get(name=LLAMA)
    assert row.kind == "FOUNDATION_MODEL_API"
    assert [(str(grant.group), grant.level) for grant in row.grants.all()] == [("users", 2)]


def test_a_check_without_news_changes_no_endpoint(online: ModelHost):
    before = list(Endpoint.objects.order_by("name").values_list("name", "generation"))
    check(online)
    assert list(Endpoint.objects.order_by("name").values_list("name", "generation")) == before
    assert ConfigVersion.objects.count() == 2


def test_a_name_that_a_user_has_is_numbered(add_host: Add, owner: User):
    Endpoint.objects.create(
        workspace=Workspace.here(), name=LLAMA, creator=owner, created_at=clock.now(), modified_at=clock.now()
    )
    check(add_host())
    assert set(states()) == {f"{LLAMA}-2", NOMIC}


def test_a_host_that_is_down_makes_its_endpoints_not_ready_and_one_that_is_back_ready(
    online: ModelHost, fake: FakeHost
):
    fake.answers({"error": {"message": "loading"}}, status=503)
    first = check(online)
    assert (first.health, first.error) == (Health.UNREACHABLE, "It answered 503: loading")
    assert set(states().values()) == {READY}  # one failure may be chance
    check(online)
    assert set(states().values()) == {NOT_READY}
    sentence = Endpoint.objects.get(name=LLAMA).events.order_by("-pk")[0].sentence
    assert "The model host gpu does not answer: It answered 503: loading" in sentence
    fake.lists("llama-3.1-8b", "nomic-embed-text")
    assert check(online).health == Health.ONLINE
    assert states() == {LLAMA: READY, NOMIC: READY}


def test_a_model_that_vanishes_is_not_ready_for_a_day_and_then_goes_with_a_report(
    online: ModelHost, fake: FakeHost
):
    reported: list[ReportedChange] = []

    def receive(change: ReportedChange, **_signal: object) -> None:
        reported.append(change)

    fake.lists("llama-3.1-8b")
    check(online)
    assert states() == {LLAMA: READY, NOMIC: NOT_READY}
    assert "no longer has this model" in EndpointEvent.objects.order_by("-pk")[0].sentence
    age_models(hours=23)
    check(online)
    assert states() == {LLAMA: READY, NOMIC: NOT_READY}
    age_models(hours=2)
    change_reported.connect(receive)
    try:
        check(online)
    finally:
        change_reported.disconnect(receive)
    assert states() == {LLAMA: READY}
    assert [(each.action, each.name, each.after) for each in reported] == [
        ("forget_foundation_model", NOMIC, None)
    ]
    assert not Endpoint.objects.filter(name=NOMIC).exists()


def test_a_model_that_comes_back_is_ready_again(online: ModelHost, fake: FakeHost):
    fake.lists("llama-3.1-8b")
    check(online)
    fake.lists("llama-3.1-8b", "nomic-embed-text")
    check(online)
    assert states() == {LLAMA: READY, NOMIC: READY}
    assert not FoundationModel.objects.exclude(gone_since=None).exists()


def test_a_new_address_gives_the_endpoints_a_new_config_version(
    online: ModelHost, fake: FakeHost, admin: User
):
    with raw_server() as other:
        second = FakeHost(other)
        changes = HostChanges.parsed({"base_url": second.base_url})
        host = commands.update_host(name="gpu", changes=changes, actor=admin, now=clock.now())
        check(host)
        deploy()
    external = SnapshotBuilder().build().endpoints[LLAMA].entities[0]
    assert external.config.custom_provider_url == second.base_url  # type: ignore[attr-defined]
    assert Endpoint.objects.get(name=LLAMA).versions.count() == 2
    assert states() == {LLAMA: READY, NOMIC: READY}


HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n" + b"[" + b" " * 10_485_758 + b"]"
METADATA = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (HTML, "a web page instead of a list of models"),
        (BIG, "longer than 4 MB"),
        (METADATA, "redirect (302), which is never followed"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno", "It answered 500"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "no list of models at this address (404)"),
        (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", "It refused the secret (401)"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"data":7', "not valid JSON"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"data":7}', "no list of models"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"[" * 20_000, "nested deeper"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
def test_a_host_that_misbehaves_is_told_in_a_sentence(
    add_host: Add, fake: FakeHost, reply: bytes, sentence: str
):
    fake.server.answer(reply)
    host = check(add_host())
    assert host.health == Health.UNREACHABLE
    assert sentence in host.error
    assert not states()


def test_odd_entries_are_left_out_and_told(add_host: Add, fake: FakeHost):
    fake.answers({"data": [{"id": "good"}, {"id": "good"}, {"id": ["x"]}, {"id": "a b"}, 7]})
    host = check(add_host())
    assert set(states()) == {"system-gpu-good"}
    assert host.note.startswith("3 entries of its list were left out")


def test_a_list_of_10000_models_is_cut_and_told(add_host: Add, fake: FakeHost):
    fake.lists(*(f"m{number:05}" for number in range(10_000)))
    host = check(add_host())
    assert set(states()) == {f"system-gpu-m{number:05}" for number in range(500)}
    assert "lists 10,000 models" in host.note


def test_a_host_with_new_names_at_each_check_stops_at_a_number_of_endpoints(
    add_host: Add, fake: FakeHost, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(endpoints_of_models, "MAX_ENDPOINTS", 10)
    host = add_host()
    for number in range(3):
        fake.lists(*(f"m{number}-{each}" for each in range(4)))
        host = check(host)
    assert len(states()) == 10
    assert host.note.startswith("2 new models were left out, because this host has 10 endpoints")
    age_models(hours=25)  # those of the first and the second check
    host = check(host)
    assert (set(states()), host.note) == ({f"system-gpu-m2-{each}" for each in range(4)}, "")


def test_a_host_is_checked_again_after_a_minute_and_sooner_after_a_failure(add_host: Add, fake: FakeHost):
    def pause(host: ModelHost) -> float:
        assert host.checked_at
        return (host.next_check_at - host.checked_at).total_seconds()

    host = add_host()
    assert pause(check(host)) == 60
    fake.answers({}, status=500)
    assert [pause(check(host)) for _again in range(5)] == [5, 15, 30, 60, 60]


def test_named_models_are_the_only_ones(add_host: Add, fake: FakeHost):
    check(add_host(models=[{"name": "llama-3.1-8b"}, {"name": "e5", "task": "llm/v1/embeddings"}]))
    assert set(states()) == {LLAMA, "system-gpu-e5"}


def test_a_house_account_serves_the_models_of_a_provider(add_host: Add, fake: FakeHost, settings: Any):
    fake.answers(
        {"data": [{"id": "claude-x", "display_name": "Claude X", "type": "model"}], "has_more": False}
    )
    settings.PROVIDER_ADDRESSES = {"anthropic": fake.server.url}
    account = {
        "provider": "anthropic",
        "anthropic_config": {"anthropic_api_key_plaintext": "key-of-the-house"},
    }
    host = check(add_host("house", kind="provider", account=account, base_url=""))
    assert (host.health, host.error) == (Health.ONLINE, "")
    assert FoundationModel.objects.get().display_name == "Claude X"
    assert b"x-api-key: key-of-the-house" in fake.requests[0]
    assert "key-of-the-house" not in json.dumps(
        [host.spec, *ConfigVersion.objects.values_list("spec", flat=True)]
    )
    deploy()
    (secret,) = (
        SnapshotBuilder().build().endpoints["system-house-claude-x"].entities[0].config.secrets().values()
    )
    assert secret.reveal() == "key-of-the-house"


def test_the_host_of_this_machine_is_made_and_moved(fake: FakeHost, admin: User):
    for key in ("first", "second"):
        host = commands.put_local_host(name="local", base_url=fake.base_url, api_key=key, now=clock.now())
        check(host)
        deploy()
    assert b"Authorization: Bearer second" in fake.requests[-1]
    (secret,) = (
        SnapshotBuilder().build().endpoints["system-local-llama-3-1-8b"].entities[0].config.secrets().values()
    )
    assert secret.reveal() == "second"
    commands.delete_local_host(name="local")
    assert not states()
    assert not ModelHost.objects.exists()


def test_no_user_takes_a_name_of_a_foundation_model():
    with pytest.raises(SpecErrors, match="system-"):
        parse_endpoint(openai_body("system-mine"))
