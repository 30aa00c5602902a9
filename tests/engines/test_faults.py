"""Parts of the Ray cluster are killed while an endpoint of the whole product answers queries."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.engines.admin import Admin
from tests.engines.cluster import Cluster
from tests.engines.load import Load
from tests.engines.polling import limit, wait_until
from tests.support.listening import listening_beyond_loopback, listening_ports
from tests.support.waiting import command_line, is_alive

pytestmark = [pytest.mark.engines, pytest.mark.faults, pytest.mark.slow, pytest.mark.xdist_group("engines")]
NAME = "faults"
CONTROLLER = "ray::ServeController"
RATE = 20.0


@pytest.fixture(scope="module")
def deployed(admin: Admin) -> str:
    """The name of the application of an endpoint with two replicas."""
    fields = {"provisioned_model_units": 2, "burst_scaling_enabled": False}
    made = admin.create(NAME, {"entity_name": "versioned", "entity_version": "1", **fields})
    admin.settled(NAME)
    return f"serving-ui.{made['id']}-1-0"


@pytest.fixture
def application(deployed: str, admin: Admin, shared_cluster: Cluster) -> str:
    """It has two replicas, both proxies answer, and the endpoint is ready."""
    wait_until(lambda: len(shared_cluster.replicas(deployed)) == 2, what="two replicas")
    wait_until(lambda: len(shared_cluster.ray.proxies()) == 2, what="two proxies")
    wait_until(lambda: admin.is_ready(NAME), what="READY")
    return deployed


@pytest.fixture
def load(application: str, admin: Admin) -> Iterator[Load]:
    with Load(lambda body: admin.query(NAME, body), rate=RATE).running() as load:
        load.wait_for(20)
        yield load


def kill(process: int) -> float:
    """SIGKILL. Returns when it had ended, on the monotonic clock."""
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not is_alive(process), what="its end")
    return time.monotonic()


def proxy_process(cluster: Cluster, proxy: str) -> int:
    """The process that listens on the proxy's port."""
    port = urlsplit(proxy).port
    for process in cluster.program.descendants():
        if "ray::ProxyActor" in command_line(process) and port in listening_ports(process):
            return process
    raise AssertionError(f"nothing listens on {proxy}")


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_replica_fails_only_what_it_was_answering_and_is_replaced(
    application: str, load: Load, shared_cluster: Cluster
):
    """As when the memory of its node is exhausted: the kernel kills it with the same signal."""
    replica = shared_cluster.replicas(application)[0]
    killed_at = kill(replica)
    load.wait_for(100)
    assert [each for each in load.failed if each.began > killed_at] == []
    wait_until(lambda: len(shared_cluster.replicas(application)) == 2, what="another replica")


def test_a_killed_controller_fails_no_query_and_the_next_update_succeeds(
    load: Load, shared_cluster: Cluster, admin: Admin
):
    killed = shared_cluster.process(CONTROLLER)
    kill(killed)
    load.wait_for(100)
    assert load.failed == []
    admin.create("after", {"entity_name": "versioned", "entity_version": "2", "scale_to_zero_enabled": False})
    state = admin.settled("after")["state"]
    assert state == {"ready": "READY", "config_update": "NOT_UPDATING"}, admin.message("after")
    assert admin.query("after", {}).json()["version"] == "2"
    admin.ok("DELETE", "serving-endpoints/after")


@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_proxy_fails_only_what_it_was_answering(
    number: int, load: Load, shared_cluster: Cluster, admin: Admin
):
    killed_at = kill(proxy_process(shared_cluster, shared_cluster.proxies[number]))
    load.wait_for(100)
    assert admin.is_ready(NAME)
    assert [each for each in load.failed if each.began > killed_at] == []


def test_models_come_back_when_their_node_is_killed(
    application: str, load: Load, shared_cluster: Cluster, admin: Admin
):
    killed_at = kill(parent_of(shared_cluster.replicas(application)[0]))
    wait_until(lambda: any(each.began > killed_at and not each.version for each in load.sent), what="a loss")
    lost_until = time.monotonic()
    wait_until(
        lambda: len([each for each in load.sent if each.began > lost_until and each.version]) > 40,
        what="answers",
    )
    wait_until(lambda: admin.is_ready(NAME), what="READY")
    problems = {each.problem[:3] for each in load.failed}
    assert problems <= {"500", "503"}, load.failed[:3]


def test_the_applications_come_back_with_the_head_without_being_written_again(
    application: str, shared_cluster: Cluster, admin: Admin
):
    deployed_at = shared_cluster.status()["applications"][application]["last_deployed_time_s"]
    kill(shared_cluster.process("gcs_server"))
    assert shared_cluster.program.wait_for_exit() == 1
    wait_until(lambda: not admin.is_ready(NAME), what="NOT_READY")
    refused = admin.query(NAME, {})
    assert refused.status_code == 503, refused.text
    shared_cluster.start()
    wait_until(lambda: admin.query(NAME, {}).status_code == 200, what="an answer", seconds=limit(45))
    wait_until(lambda: admin.is_ready(NAME), what="READY")
    assert shared_cluster.status()["applications"][application]["last_deployed_time_s"] == deployed_at
    (healthy, _text), (unhealthy, reason) = admin.events(NAME)[:2]
    assert (healthy, unhealthy) == ("ENDPOINT_HEALTHY_EVENT", "ENDPOINT_UNHEALTHY_EVENT")
    assert "The Ray cluster at" in reason
    shared_cluster.wait_until_up()


def test_only_replicas_listen_beyond_loopback(application: str, shared_cluster: Cluster):
    found = listening_beyond_loopback(shared_cluster.program.descendants())
    assert all("ray::" in command_line(each) and ":Model" in command_line(each) for each in found)
    assert set(shared_cluster.replicas(application)) <= set(found)
