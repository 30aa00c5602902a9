"""Parts of the Ray cluster are killed while it answers queries."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from serving_ui.backends.protocol import Progress
from serving_ui.catalogue.compute import Compute
from tests.engines.cluster import SMALL, Cluster, own
from tests.engines.load import Load
from tests.support.listening import listening_beyond_loopback, listening_ports
from tests.support.waiting import command_line, is_alive, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.faults, pytest.mark.slow, pytest.mark.xdist_group("engines")]
TWO: Compute = replace(SMALL, min_replicas=2, max_replicas=2)
CONTROLLER = "ray::ServeController"


def proxy_process(cluster: Cluster, proxy: str) -> int:
    """The process that listens on the proxy's port."""
    port = urlsplit(proxy).port
    for process in cluster.program.descendants():
        if "ray::ProxyActor" in command_line(process) and port in listening_ports(process):
            return process
    raise AssertionError(f"nothing listens on {proxy}")


def kill(process: int) -> float:
    """SIGKILL. Returns when it had ended, on the monotonic clock."""
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not is_alive(process), what="its end")
    return time.monotonic()


def test_a_killed_replica_is_replaced(cluster: Cluster):
    application = replace(own("two"), compute=TWO)
    cluster.deploy(application)
    assert len(cluster.replicas(application)) == 2
    with Load(application, cluster.proxies[:1], rate=40).running() as load:
        load.wait_for(40)
        killed_at = kill(cluster.replicas(application)[0])
        load.wait_for(200)
    late = [each for each in load.failed if each.at > killed_at]
    assert late == []  # only those fail that it was answering
    assert not [each for each in load.sent[-100:] if each.version != "1"]
    cluster.wait_for(application, Progress.READY)


def test_a_killed_controller_stops_no_query(cluster: Cluster):
    application = own("controlled")
    cluster.deploy(application)
    with Load(application, cluster.proxies[:1], rate=40).running() as load:
        load.wait_for(40)
        cluster.kill(CONTROLLER)
        load.wait_for(200)
    assert load.failed == []
    cluster.wait_for(application, Progress.READY)
    cluster.ray.apply([application, own("another")])
    cluster.wait_for(own("another"), Progress.READY)


def test_a_killed_proxy_is_noticed_by_requests_and_the_other_answers(cluster: Cluster):
    application = own("proxied")
    cluster.deploy(application)
    wait_until(lambda: len(cluster.ray.proxies()) == 2, what="two proxies")
    with Load(application, cluster.proxies, rate=40).running() as load:
        load.wait_for(40)
        killed_at = kill(proxy_process(cluster, cluster.proxies[0]))
        wait_until(lambda: cluster.ray.proxies() == cluster.proxies[1:], what="one proxy", seconds=10)
        assert cluster.ray.observe(application).progress is Progress.READY
        load.wait_for(100)
        wait_until(lambda: cluster.ray.proxies() == cluster.proxies, what="both proxies")
    late = [each for each in load.failed if each.at > killed_at]
    assert late == []  # only those fail that went through it at that moment


def test_models_come_back_when_their_node_is_killed(cluster: Cluster):
    application = own("placed")
    cluster.deploy(application)
    raylets = [each for each in cluster.program.descendants() if "/raylet/raylet" in command_line(each)]
    (replica,) = cluster.replicas(application)
    parent = next(each for each in raylets if _is_parent(each, replica))
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: cluster.ray.observe(application).progress is not Progress.READY, what="its loss")
    cluster.wait_for(application, Progress.READY, seconds=90)
    wait_until(lambda: cluster.query(application, {}).status_code == 200, what="an answer")


def _is_parent(parent: int, process: int) -> bool:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]) == parent


def test_the_applications_come_back_with_the_head_without_being_written_again(cluster: Cluster):
    application = own("kept-by-redis")
    cluster.deploy(application)
    cluster.kill("gcs_server")
    assert cluster.program.wait_for_exit() == 1
    assert cluster.ray.observe(application).progress is Progress.RETRY
    began = time.monotonic()
    cluster.start()

    def answers() -> bool:
        try:
            return cluster.query(application, {}, seconds=5).status_code == 200
        except requests.RequestException:
            return False

    wait_until(answers, what="an answer", seconds=45)
    assert time.monotonic() - began <= 45
    cluster.wait_for(application, Progress.READY)
    cluster.wait_until_up()


def test_only_replicas_listen_beyond_loopback(cluster: Cluster):
    application = own("listening")
    cluster.deploy(application)
    found = listening_beyond_loopback(cluster.program.descendants())
    assert list(found) == cluster.replicas(application)
