"""Endpoints from creation to deletion with real processes: pages, gateway, Celery worker and beat."""

from __future__ import annotations

import pytest

from tests.journeys.conftest import Deploy
from tests.support.background_queries import query_in_background
from tests.support.product import Person
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def test_a_created_endpoint_becomes_ready_and_answers(owner: Person, provider: SandboxServer):
    owner.create("first", base=provider.base)
    owner.wait_for_state("first", "Ready")
    answer = owner.query("first")
    assert (answer.status, answer.model) == (200, "gpt-4")
    assert "Hello" in answer.body["choices"][0]["message"]["content"]


@pytest.mark.smoke
def test_the_old_config_answers_until_the_new_one_is_ready_and_no_query_fails(
    owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    with query_in_background(owner, name) as queries:
        provider.hold("models")
        owner.edit(name, base=provider.base, model="gpt-4o")
        provider.wait_for("models")
        assert owner.state(name) == "Ready (Updating)"
        queries.wait_for_more(50)
        assert queries.models == ["gpt-4"]
        provider.release("models")
        owner.wait_for_state(name, "Ready")
        queries.wait_for_more()
    assert queries.models == ["gpt-4", "gpt-4o"]
    assert queries.statuses == {200}


def test_a_cancelled_update_changes_nothing_when_its_check_returns_late(
    owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    with query_in_background(owner, name) as queries:
        provider.hold("models")
        owner.edit(name, base=provider.base, model="gpt-4o")
        provider.wait_for("models", count=1)
        owner.cancel(name)
        assert owner.state(name) == "Ready (Update canceled)"
        provider.release("models")
        wait_until(lambda: provider.report()["open"] == 0, what="the late worker to have its answer")
        queries.wait_for_more(100)
        assert owner.state(name) == "Ready (Update canceled)"
    assert queries.models == ["gpt-4"]
    assert queries.statuses == {200}
    owner.edit(name, base=provider.base, model="gpt-4o")
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def test_a_failed_update_shows_the_reason_and_the_old_config_goes_on_answering(
    owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.set_faults(on="models", status=401, message="This key was withdrawn.")
    owner.edit(name, base=provider.base, model="gpt-4o")
    owner.wait_for_state(name, "Ready (Update failed)")
    assert "This key was withdrawn." in owner.get(f"/ml/endpoints/{name}").text
    assert owner.query(name).model == "gpt-4"
    provider.reset()
    owner.post(f"/ml/endpoints/{name}/retry", {})
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def test_the_check_of_a_busy_provider_is_retried(owner: Person, provider: SandboxServer):
    provider.set_faults(on="models", status=503)
    owner.create("patient", base=provider.base)
    provider.wait_for("models", count=2)
    assert owner.state("patient") == "Not ready (Updating)"
    provider.reset()
    owner.wait_for_state("patient", "Ready")


def test_a_replaced_secret_is_used_for_all_later_queries(owner: Person, provider: SandboxServer):
    owner.post("/ml/secrets/scopes", {"scope": "rotation"})
    owner.post("/ml/secrets/rotation/put", {"key": "openai", "value": "the-first-key"})
    owner.create("rotating", base=provider.base, openai_api_key="{{secrets/rotation/openai}}")
    owner.wait_for_state("rotating", "Ready")
    assert owner.query("rotating").status == 200
    assert provider.requests("chat/completions")[-1]["key"] == "the-first-key"
    with query_in_background(owner, "rotating") as queries:
        owner.post("/ml/secrets/rotation/put", {"key": "openai", "value": "the-second-key"})
        wait_until(
            lambda: provider.requests("chat/completions")[-1]["key"] == "the-second-key",
            what="the new key to be sent",
        )
    keys = [call["key"] for call in provider.requests("chat/completions")]
    assert keys == sorted(keys), "never the old one again"
    assert queries.statuses == {200}


def test_a_revoked_token_is_refused_and_others_still_work(owner: Person, deploy: Deploy):
    name = deploy()
    token = owner.new_token("to be revoked")
    wait_until(lambda: owner.query(name, token=token).status == 200, what="the token to be known")
    owner.revoke_token("to be revoked")
    wait_until(lambda: owner.query(name, token=token).status == 401, what="the token to be refused")
    assert owner.query(name).status == 200


def test_a_deleted_endpoint_is_404(owner: Person, deploy: Deploy):
    name = deploy()
    owner.post(f"/ml/endpoints/{name}/delete", {"typed_name": name})
    wait_until(lambda: owner.query(name).status == 404, what="the gateway to have forgotten it")
