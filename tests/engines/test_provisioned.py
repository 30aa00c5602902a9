"""Endpoints with models of one's own, from the REST API to a real Ray cluster and back through the gateway."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.engines.cluster import Cluster
from tests.support.product import Product
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
MODELS = ("Versioned", "Slow", "Broken")


class Admin:
    """Calls the REST API and the gateway with an admin's token."""

    def __init__(self, product: Product) -> None:
        self._url = product.url
        self.session = requests.Session()
        self.session.headers["Authorization"] = (
            f"Bearer {product.command('create_token', 'a@example.com', '--admin')}"
        )

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self.session.request(method, f"{self._url}/api/2.0/{path}", json=body, timeout=60)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.call(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, name: str) -> Any:
        return self.ok("GET", f"serving-endpoints/{name}")

    def register(self, model: str, version: str) -> None:
        body = {
            "name": model.lower(),
            "version": version,
            "kind": "deployment",
            "location": f"tests.engines.models:{model}",
            "engine_arguments": {"version": version},
        }
        self.ok("POST", "registered-models", body)

    def create(self, name: str, *entities: dict[str, Any], **config: Any) -> Any:
        return self.ok(
            "POST", "serving-endpoints", {"name": name, "config": {"served_entities": [*entities], **config}}
        )

    def update(self, name: str, *entities: dict[str, Any], **config: Any) -> Any:
        return self.ok("PUT", f"serving-endpoints/{name}/config", {"served_entities": [*entities], **config})

    def settled(self, name: str, *, seconds: float = 90) -> Any:
        """The endpoint, once no update runs."""

        def is_settled() -> bool:
            return bool(self.get(name)["state"]["config_update"] != "IN_PROGRESS")

        wait_until(is_settled, what=f"the end of the update of {name}", seconds=seconds)
        return self.get(name)

    def query(self, name: str, body: Any) -> requests.Response:
        url = f"{self._url}/serving-endpoints/{name}/invocations"
        headers = dict(self.session.headers)  # a connection of its own, because threads use this
        return requests.post(url, json=body, headers=headers, timeout=60)


def entity(version: str = "1", model: str = "versioned", **fields: Any) -> dict[str, Any]:
    return {"entity_name": model, "entity_version": version, "scale_to_zero_enabled": False, **fields}


def applications(cluster: Cluster) -> set[str]:
    return set(cluster.status()["applications"])


@pytest.fixture(scope="module")
def product(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    settings = {
        "SERVING_UI_RAY_ADDRESS": shared_cluster.plan.address,
        "SERVING_UI_RAY_TOKEN": shared_cluster.token,
        "SERVING_UI_RAY_PROXIES": ",".join(shared_cluster.proxies),
    }
    with Product(tmp_path_factory.mktemp("provisioned"), **settings).up() as started:
        yield started


@pytest.fixture(scope="module")
def _admin(product: Product) -> Admin:
    admin = Admin(product)
    for model in MODELS:
        for version in ("1", "2"):
            admin.register(model, version)
    return admin


@pytest.fixture
def admin(_admin: Admin, shared_cluster: Cluster) -> Iterator[Admin]:
    """Endpoints of the test are deleted after it, and nothing of them stays on the cluster."""
    yield _admin
    for each in _admin.ok("GET", "serving-endpoints")["endpoints"]:
        if each.get("endpoint_type") == "CUSTOM_MODEL" or "endpoint_type" not in each:
            _admin.ok("DELETE", f"serving-endpoints/{each['name']}")
    wait_until(lambda: not applications(shared_cluster), what="a cluster without applications", seconds=60)


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
    wait_until(lambda: len(applications(shared_cluster)) == 1, what="the end of the old application")
    stopped = admin.ok("POST", "serving-endpoints/own:stop")
    assert stopped["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING"}
    refused = admin.query("own", {})
    assert (refused.status_code, "stopped" in refused.text) == (400, True)
    wait_until(lambda: not applications(shared_cluster), what="a cluster without applications")
    assert admin.call("POST", "serving-endpoints/own:stop").status_code == 409
    admin.ok("POST", "serving-endpoints/own:start")
    assert admin.settled("own")["config"]["config_version"] == 3
    assert admin.query("own", {}).json()["version"] == "2"


def test_an_update_under_load_fails_no_query_and_mixes_no_versions(admin: Admin):
    admin.create("busy", entity(workload_size="Medium"))
    admin.settled("busy")
    answers: list[tuple[float, int, str]] = []
    stop = threading.Event()

    def send(seconds: float) -> None:
        began = time.monotonic()
        answer = admin.query("busy", {"seconds": seconds})
        version = answer.json()["version"] if answer.status_code == 200 else answer.text
        answers.append((began, answer.status_code, version))

    def load(pool: ThreadPoolExecutor) -> None:
        for number in range(10_000):
            if stop.wait(0.05):
                return
            pool.submit(send, 2.0 if number % 20 == 0 else 0.0)

    with ThreadPoolExecutor(40) as pool:
        sender = threading.Thread(target=load, args=(pool,))
        sender.start()
        try:
            admin.update("busy", entity("2", workload_size="Medium"))
            admin.settled("busy")
            done = time.monotonic()
            wait_until(lambda: len(answers) > 100, what="answers")
        finally:
            stop.set()
            sender.join()
    assert Counter(status for _began, status, _version in answers) == {200: len(answers)}
    assert {version for began, _status, version in answers if began > done} <= {"2"}
    assert {version for _began, _status, version in answers} == {"1", "2"}


def test_an_update_that_is_cancelled_leaves_nothing(admin: Admin, shared_cluster: Cluster):
    admin.create("steady", entity())
    admin.settled("steady")
    before = applications(shared_cluster)
    admin.update("steady", entity(model="slow"))
    wait_until(lambda: len(applications(shared_cluster)) == 2, what="the new application")
    admin.ok("POST", "serving-endpoints/steady/config:cancel")
    wait_until(
        lambda: applications(shared_cluster) == before, what="the end of the new application", seconds=30
    )
    after = admin.get("steady")
    assert after["state"] == {"ready": "READY", "config_update": "UPDATE_CANCELED"}
    assert admin.query("steady", {}).json()["version"] == "1"


def test_a_model_that_does_not_load_fails_with_its_own_words(admin: Admin):
    admin.ok("POST", "secrets/scopes/create", {"scope": "hub"})
    admin.ok("POST", "secrets/put", {"scope": "hub", "key": "token", "string_value": "hf_canary_value"})
    admin.create("broken", entity(model="broken", environment_vars={"HUB_TOKEN": "{{secrets/hub/token}}"}))
    failed = admin.settled("broken")
    assert failed["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
    (version,) = admin.ok("GET", "serving-endpoints/broken/config-versions")["config_versions"]
    assert version["message"].startswith("ValueError: the weights are damaged")
    assert "hf_canary_value" not in version["message"]


def test_what_the_cluster_lacks_is_told_while_it_waits(admin: Admin):
    admin.create("huge", entity(workload_type="GPU_SMALL"))
    wait_until(
        lambda: (
            "GPU"
            in admin.get("huge")["pending_config"]["served_entities"][0]["state"]["deployment_state_message"]
        ),
        what="the reason",
        seconds=60,
    )
    admin.ok("POST", "serving-endpoints/huge/config:cancel")


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

    admin.create("split", *both, traffic_config=routes(100))
    admin.settled("split")
    before = applications(shared_cluster)
    processes = {admin.query("split", {}).json()["process"]}
    admin.update("split", *both, traffic_config=routes(0))
    admin.settled("split")
    assert admin.query("split", {}).json()["version"] == "2"
    admin.update("split", *both, traffic_config=routes(100))
    admin.settled("split")
    assert applications(shared_cluster) == before
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


def test_an_application_that_somebody_deletes_comes_back(admin: Admin, shared_cluster: Cluster):
    admin.create("restored", entity())
    admin.settled("restored")
    shared_cluster.rest("PUT", "/api/serve/applications/", json={"applications": []})
    wait_until(lambda: admin.query("restored", {}).status_code == 200, what="answers", seconds=90)
    wait_until(lambda: admin.get("restored")["state"]["ready"] == "READY", what="READY", seconds=90)


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
