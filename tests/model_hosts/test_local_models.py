"""The models that `up` runs on this machine become model hosts, and go with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.lib import clock
from serving_ui.lib.changes import ReportedChange, change_reported
from serving_ui.lib.refusal import NotAllowed
from serving_ui.local_model.files import Connection, Files, ModelStatus, Phase, Status
from serving_ui.model_hosts import commands, local_models
from serving_ui.model_hosts.host_spec import HostSpec
from serving_ui.model_hosts.models import Health, ModelHost
from tests.model_hosts.conftest import FakeHost, check, deploy, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def files(settings: Any, tmp_path: Path) -> Iterator[Files]:
    """Those of a data folder in which `up` runs."""
    settings.DATA = tmp_path
    files = Files(tmp_path)
    lock = files.lock_as_running()
    yield files
    os.close(lock)


@pytest.fixture
def running(files: Files, fake: FakeHost) -> Files:
    """With two models, of which the first is ready."""
    port = int(fake.base_url.split(":")[2].split("/")[0])
    files.want()
    files.write_connections({"smollm2": Connection(port, "key"), "big.Q4": Connection(1, "other")})
    files.write_status(
        Status(Phase.RUNNING, models=(ModelStatus("smollm2", is_ready=True), ModelStatus("big.Q4")))
    )
    fake.lists("smollm2")
    return files


def follow() -> list[str]:
    local_models.follow(now=clock.now())
    return list(ModelHost.objects.order_by("name").values_list("name", flat=True))


def test_a_model_that_is_ready_becomes_a_host_and_stays_as_it_is(running: Files, fake: FakeHost, admin: User):
    assert follow() == ["local"]
    host = check(ModelHost.objects.get())
    deploy()
    assert states() == {"system-local-smollm2": "READY"}
    assert b"Authorization: Bearer key" in fake.requests[-1]
    follow()
    assert ModelHost.objects.get().revision == host.revision


def test_a_host_follows_a_new_address_and_key(running: Files, admin: User):
    follow()
    connection = Connection(running.connections()["smollm2"].port, "another")
    running.write_connections({"smollm2": connection})
    follow()
    assert ModelHost.objects.get().revision == 2


def test_a_restart_of_up_leaves_the_hosts(running: Files):
    follow()
    running.write_status(Status(Phase.STARTING))
    assert follow() == ["local"]


def test_a_model_whose_file_was_removed_loses_its_host(running: Files):
    ready = ModelStatus("smollm2", is_ready=True)
    running.write_status(Status(Phase.RUNNING, models=(ready, ModelStatus("big.Q4", is_ready=True))))
    assert len(follow()) == 2
    running.write_status(Status(Phase.RUNNING, models=(ready,)))
    assert follow() == ["local"]


def test_stop_removes_the_hosts_of_this_machine_only(running: Files, admin: User):
    elsewhere = "http://127.0.0.1:9/v1"
    commands.put_local_host(name="of-another-machine", base_url=elsewhere, api_key="", now=clock.now())
    assert len(follow()) == 2
    with pytest.raises(NotAllowed, match="Stop the models"):
        commands.delete_host(name="local", actor=admin, now=clock.now())
    local_models.stop_local_models(actor=admin)
    assert follow() == ["of-another-machine"]


def test_another_host_with_the_name_stays_and_the_rest_goes_on(running: Files, admin: User):
    spec = HostSpec.parsed({"name": "local", "base_url": "http://127.0.0.1:9/v1"})
    commands.create_host(spec=spec, actor=admin, now=clock.now())
    models = (ModelStatus("smollm2", is_ready=True), ModelStatus("big.Q4", is_ready=True))
    running.write_status(Status(Phase.RUNNING, models=models))
    names = follow()
    assert names[0] == "local"
    assert len(names) == 2
    assert ModelHost.objects.get(name="local").kind == "openai-compatible"


def test_a_host_that_was_unreachable_is_checked_soon(running: Files):
    follow()
    late = clock.now() + local_models.SOON * 5
    ModelHost.objects.update(health=Health.UNREACHABLE, next_check_at=late)
    follow()
    assert ModelHost.objects.get().next_check_at < late


def test_a_click_is_reported_with_the_person(files: Files, admin: User):
    reported: list[ReportedChange] = []

    def receive(change: ReportedChange, **_signal: object) -> None:
        reported.append(change)

    change_reported.connect(receive)
    try:
        local_models.start_local_models(actor=admin)
        local_models.stop_local_models(actor=admin)
    finally:
        change_reported.disconnect(receive)
    told = [(each.action, each.actor, each.before, each.after) for each in reported]
    assert told == [
        ("start_local_models", admin.pk, {"wanted": False}, {"wanted": True}),
        ("stop_local_models", admin.pk, {"wanted": True}, {"wanted": False}),
    ]


def test_only_admins_start_and_stop_and_only_where_up_runs(
    files: Files, owner: User, admin: User, settings: Any, tmp_path: Path
):
    for command in (local_models.start_local_models, local_models.stop_local_models):
        with pytest.raises(NotAllowed):
            command(actor=owner)
    local_models.start_local_models(actor=admin)
    assert files.wish()
    settings.DATA = tmp_path / "elsewhere"
    with pytest.raises(NotAllowed, match=r"manage\.py up"):
        local_models.start_local_models(actor=admin)
