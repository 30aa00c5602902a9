"""The card of the models on this machine, in the list of endpoints and on the page Model hosts."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.lib import clock
from serving_ui.local_model.files import Files, ModelStatus, Phase, Status
from serving_ui.model_hosts import commands, local_models
from serving_ui.model_hosts.host_spec import HostSpec
from serving_ui.model_hosts.models import ModelHost
from tests.model_hosts.conftest import FakeHost, check, deploy
from tests.model_hosts.test_local_models import files, running
from tests.pages.conftest import a_static_folder, signed_in
from tests.support.pages import Page

__all__ = ["a_static_folder", "files", "running"]
pytestmark = pytest.mark.django_db(transaction=True)
LIST, HOSTS = "/ml/endpoints", "/ml/model-hosts"
START, STOP = "/ml/local-models/start", "/ml/local-models/stop"
TITLE = "A model on this machine"


@pytest.fixture
def of_admin(admin: User) -> Client:
    return signed_in(admin)


def text(client: Client, path: str) -> str:
    return Page(client.get(path)).text


def post(client: Client, path: str, page: str = "hosts", **headers: str) -> Any:
    return client.post(path, {"page": page}, headers=headers)


def test_it_is_offered_to_admins_where_up_runs(of_admin: Client, owner: User, files: Files, settings: Any):
    for path in (LIST, HOSTS):
        assert TITLE in text(of_admin, path)
        assert "demonstration" in text(of_admin, path)
    assert TITLE not in text(signed_in(owner), LIST)
    settings.DATA = files.data_folder / "elsewhere"
    for path in (LIST, HOSTS):
        assert TITLE not in text(of_admin, path)


def test_nobody_else_starts_or_stops_it(owner: User, files: Files):
    client = signed_in(owner)
    for path in (START, STOP):
        assert post(client, path).status_code == 403
        assert post(Client(), path).status_code in (302, 303)
    assert files.wish() == ""


@pytest.mark.parametrize(("page", "address"), [("list", LIST), ("hosts", HOSTS)])
def test_start_and_stop_without_javascript(of_admin: Client, files: Files, page: str, address: str):
    started = post(of_admin, START, page)
    assert (started.status_code, started["Location"]) == (303, address)
    assert files.wish()
    stopped = post(of_admin, STOP, page)
    assert (stopped.status_code, stopped["Location"]) == (303, address)
    assert files.wish() == ""


@pytest.mark.parametrize(("page", "part"), [("list", 'id="foundation-models"'), ("hosts", 'id="hosts"')])
def test_with_javascript_a_part_of_the_page_answers_and_follows(
    of_admin: Client, files: Files, page: str, part: str
):
    answer = post(of_admin, START, page, **{"HX-Request": "true"}).content.decode()
    assert answer.lstrip().startswith("<") and part in answer
    assert "<html" not in answer
    assert "every " in answer


def test_the_installation_shows_its_progress(of_admin: Client, files: Files):
    files.want()
    files.write_status(Status(Phase.INSTALLING, megabytes=310))
    page = of_admin.get(HOSTS).content.decode()
    assert '<progress max="100" value="50"' in page
    assert "Installing" in page


def test_a_failure_is_told_with_a_retry_and_the_page_stops_asking(of_admin: Client, files: Files):
    files.want()
    files.write_status(Status(Phase.FAILED, "The disk is full. <b>Make room.</b>"))
    first = files.wish()
    for path in (LIST, HOSTS):
        page = of_admin.get(path).content.decode()
        assert "The disk is full. &lt;b&gt;Make room." in page
        assert "Try again" in page
        assert "every 1s" not in page
    post(of_admin, START)
    assert files.wish() not in ("", first)


def test_a_model_that_cannot_start_is_explained(of_admin: Client, files: Files):
    files.want()
    broken = ModelStatus("broken", message="Its server ended.", last_output="invalid magic characters")
    files.write_status(Status(Phase.RUNNING, models=(broken,)))
    assert "Its server ended. invalid magic characters" in text(of_admin, HOSTS)


def test_the_cards_take_its_place_once_the_models_are_there(
    of_admin: Client, running: Files, fake: FakeHost, admin: User
):
    assert "every 2s" in of_admin.get(LIST).content.decode()
    local_models.follow(now=clock.now())
    check(ModelHost.objects.get())
    deploy()
    page = of_admin.get(LIST).content.decode()
    assert "system-local-smollm2" in page
    assert TITLE not in page
    hosts = Page(of_admin.get(HOSTS)).text
    assert TITLE in hosts
    assert "Stop" in hosts
    assert "Delete" not in hosts


def test_after_stop_the_page_follows_until_the_hosts_are_gone(
    of_admin: Client, running: Files, fake: FakeHost
):
    local_models.follow(now=clock.now())
    answer = post(of_admin, STOP, **{"HX-Request": "true"}).content.decode()
    assert "every 1s" in answer
    local_models.follow(now=clock.now())
    page = of_admin.get(HOSTS, headers={"HX-Request": "true"}).content.decode()
    assert "every 1s" not in page
    assert "local-models-start" in page
    assert "No model hosts yet" in page


def test_a_name_that_another_host_has_is_told(of_admin: Client, running: Files, fake: FakeHost, admin: User):
    running.write_status(Status(Phase.RUNNING, models=(ModelStatus("smollm2", is_ready=True),)))
    spec = HostSpec.parsed({"name": "local", "base_url": fake.base_url})
    commands.create_host(spec=spec, actor=admin, now=clock.now())
    local_models.follow(now=clock.now())
    page = of_admin.get(HOSTS).content.decode()
    assert "a model host named local exists already" in page
    assert "every 1s" not in page
