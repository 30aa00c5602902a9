"""Endpoints with models of one's own, from the REST API to a real Ray cluster and back through the gateway."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.admin import Admin, entity
from tests.engines.cluster import Cluster
from tests.engines.load import LONG_SECONDS, Load
from tests.engines.polling import limit, wait_until
from tests.support.product import Product
from tests.support.separate_processes import WORKER, run_process
from tests.support.waiting import pass_time

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
GONE_SECONDS = 5.0
MOMENTS = (0.0, 0.2, 0.5, 0.9, 1.3, 1.7, 2.1, 2.6, 3.1, 3.7)
"""Seconds after the submit: before the application is written, while its process starts, and while the model loads."""


def applications(cluster: Cluster, endpoint: Any) -> set[str]:
    """Those of one endpoint."""
    return {each for each in cluster.applications() if each.startswith(f"serving-ui.{endpoint['id']}-")}


@pytest.mark.smoke
def test_deploy_query_update_stop_and_start(admin: Admin, shared_cluster: Cluster):
    made = admin.create("own", entity())
    assert made["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    ready = admin.settled("own")
    assert (ready["state"]["ready"], ready["endpoint_type"]) == ("READY", "CUSTOM_MODEL")
    assert ready["config"]["served_entities"][0]["workload_size"] == "Small"
    first = admin.query("own", {})
    assert first.status_code == 200, first.text
    admin.update("own", entity("2"))
    assert admin.query("own", {}).json()["version"] == "1"
    assert admin.settled("own")["config"]["config_version"] == 2
    assert admin.query("own", {}).json()["version"] == "2"
    wait_until(lambda: len(applications(shared_cluster, made)) == 1, what="the end of the old application")
    stopped = admin.ok("POST", "serving-endpoints/own:stop")
    assert stopped["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING"}
    refused = admin.query("own", {})
    assert (refused.status_code, "stopped" in refused.text) == (400, True)
    wait_until(lambda: not applications(shared_cluster, made), what="the end of its application")
    assert admin.call("POST", "serving-endpoints/own:stop").status_code == 409
    admin.ok("POST", "serving-endpoints/own:start")
    assert admin.settled("own")["config"]["config_version"] == 3
    assert admin.query("own", {}).json()["version"] == "2"


def test_an_update_under_load_fails_no_query_and_mixes_no_versions(admin: Admin):
    both: dict[str, Any] = {"provisioned_model_units": 2, "burst_scaling_enabled": False}
    fields = {"entity_name": "versioned", **both}
    admin.create("busy", {**fields, "entity_version": "1"})
    admin.settled("busy")
    with Load(lambda body: admin.query("busy", body), rate=40).running() as load:
        load.wait_for(40)
        admin.update("busy", {**fields, "entity_version": "2"})
        admin.settled("busy")
        done = time.monotonic()
        load.wait_for(120)
    assert load.failed == []
    assert {each.version for each in load.sent} == {"1", "2"}
    assert {each.version for each in load.sent if each.began > done} == {"2"}
    assert max(each.ended - each.began for each in load.sent if each.version == "1") >= LONG_SECONDS


def test_an_update_that_is_cancelled_at_any_moment_leaves_nothing(admin: Admin, shared_cluster: Cluster):
    made = admin.create("steady", entity())
    admin.settled("steady")
    (old,) = applications(shared_cluster, made)
    took = []
    for number, seconds in enumerate(MOMENTS, start=2):
        new = f"serving-ui.{made['id']}-{number}-0"
        admin.update("steady", entity(model="slow"))
        pass_time(seconds)
        admin.cancel("steady")
        began = time.monotonic()
        wait_until(lambda: shared_cluster.is_gone(new), what=f"the end of {new}")  # noqa: B023
        took.append(time.monotonic() - began)
    assert max(took) < limit(GONE_SECONDS), took
    assert admin.get("steady")["state"] == {"ready": "READY", "config_update": "UPDATE_CANCELED"}
    assert admin.query("steady", {}).json()["version"] == "1"
    assert applications(shared_cluster, made) == {old}
    assert shared_cluster.is_quiet()


def test_two_workers_at_once_lose_no_application(admin: Admin, product: Product, shared_cluster: Cluster):
    names = ["left", "right", "up", "down"]
    with run_process(product, WORKER), ThreadPoolExecutor(len(names)) as pool:
        made = dict(zip(names, pool.map(lambda name: admin.create(name, entity()), names), strict=True))
        list(pool.map(admin.settled, names))
        list(pool.map(lambda name: admin.update(name, entity("2")), names))
        list(pool.map(admin.settled, names))
        for name in names:
            assert admin.query(name, {}).json()["version"] == "2"
            wait_until(lambda: len(applications(shared_cluster, made[name])) == 1, what="one each")  # noqa: B023


def test_traffic_changes_deploy_nothing_again(admin: Admin, shared_cluster: Cluster):
    both = [entity("1", name="one"), entity("2", name="two")]

    def routes(one: int) -> dict[str, Any]:
        percentages = {"one": one, "two": 100 - one}
        return {
            "routes": [
                {"served_entity_name": name, "traffic_percentage": share}
                for name, share in percentages.items()
            ]
        }

    made = admin.create("split", *both, traffic_config=routes(100))
    admin.settled("split")
    before = applications(shared_cluster, made)
    processes = {admin.query("split", {}).json()["process"]}
    admin.update("split", *both, traffic_config=routes(0))
    admin.settled("split")
    assert admin.query("split", {}).json()["version"] == "2"
    admin.update("split", *both, traffic_config=routes(100))
    admin.settled("split")
    assert applications(shared_cluster, made) == before
    assert {admin.query("split", {}).json()["process"]} == processes


def test_provisioned_throughput_has_routes_of_its_own(admin: Admin):
    units = {"entity_name": "versioned", "entity_version": "1", "provisioned_model_units": 1}
    refused = admin.call(
        "POST", "serving-endpoints/pt", {"name": "units", "config": {"served_entities": [entity()]}}
    )
    assert (refused.status_code, "provisioned_model_units" in refused.text) == (400, True)
    admin.ok("POST", "serving-endpoints/pt", {"name": "units", "config": {"served_entities": [units]}})
    admin.settled("units")
    more = {**units, "provisioned_model_units": 2, "burst_scaling_enabled": False}
    admin.ok("PUT", "serving-endpoints/pt/units/config", {"config": {"served_entities": [more]}})
    shown = admin.settled("units")["config"]["served_entities"][0]
    assert (shown["provisioned_model_units"], shown["burst_scaling_enabled"]) == (2, False)


def test_what_somebody_else_writes_stays_and_what_they_delete_comes_back(
    admin: Admin, shared_cluster: Cluster
):
    made = admin.create("restored", entity())
    admin.settled("restored")
    (name,) = applications(shared_cluster, made)
    details = shared_cluster.status()
    config = details["applications"][name]["deployed_app_config"]
    other = {**config, "name": "other", "route_prefix": "/other"}
    body = {"http_options": details["http_options"], "applications": [other]}
    shared_cluster.rest("PUT", "/api/serve/applications/", json=body)
    written_at = details["applications"][name]["last_deployed_time_s"]

    def is_written_again() -> bool:
        found = shared_cluster.status()["applications"].get(name, {}).get("last_deployed_time_s", written_at)
        return bool(found != written_at)

    wait_until(is_written_again, what="the application again")
    assert "other" in shared_cluster.applications()
    wait_until(lambda: admin.query("restored", {}).status_code == 200, what="answers")
    wait_until(lambda: admin.is_ready("restored"), what="READY")
    admin.update("restored", entity("2"))
    assert admin.settled("restored")["config"]["config_version"] == 2
    assert shared_cluster.status()["applications"]["other"]["deployed_app_config"] == other
    shared_cluster.remove("other")


def test_external_and_own_models_never_change_places(admin: Admin):
    admin.create("kind", entity())
    external = {
        "external_model": {"provider": "sandbox", "name": "x", "task": "llm/v1/chat", "sandbox_config": {}}
    }
    admin.settled("kind")
    refused = admin.call("PUT", "serving-endpoints/kind/config", {"served_entities": [external]})
    assert (refused.status_code, "models of your own" in refused.text) == (400, True)
    refused = admin.call("POST", "serving-endpoints/sandbox-chat:stop")
    assert refused.status_code in (403, 409)
