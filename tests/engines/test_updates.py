"""Updates of one's own models under load, and updates that are cancelled or fail."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from serving_ui.backends.protocol import Progress
from serving_ui.backends.ray_serve.application import SERVING_SHUTDOWN_SECONDS, Application
from serving_ui.backends.ray_serve.client import RayUnavailable
from serving_ui.catalogue.compute import Compute
from tests.engines.cluster import SMALL, Cluster, own
from tests.engines.load import Load
from tests.support.waiting import pass_time, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
GONE_SECONDS = 5.0
MOMENTS = (0.0, 0.1, 0.4, 0.9, 1.3, 1.8, 2.2, 2.9, 3.4, 4.1)


def serving(application: Application) -> Application:
    return replace(application, graceful_shutdown_seconds=SERVING_SHUTDOWN_SECONDS)


def is_gone(cluster: Cluster, application: Application) -> bool:
    return application.name not in cluster.status()["applications"] and not cluster.replicas(application)


def test_an_update_fails_no_request_and_every_answer_is_of_the_right_version(cluster: Cluster):
    old, new = own("chat-1", version="1"), own("chat-2", version="2")
    cluster.deploy(old)
    cluster.ray.apply([serving(old)])
    with Load(old, cluster.proxies[:1], rate=40).running() as load:
        load.wait_for(40)
        cluster.deploy(serving(old), new)
        load.wait_for(40)
        load.target = new
        cluster.ray.apply([serving(new)])  # requests to the old one are still running
        load.wait_for(120)
    assert load.failed == []
    assert {each.expected for each in load.sent} == {"1", "2"}
    assert max(each.seconds for each in load.sent if each.expected == "1") >= 2
    wait_until(lambda: is_gone(cluster, old), what="the end of the old version")


def test_a_cancelled_update_leaves_nothing_at_any_moment(cluster: Cluster):
    old = own("chat-1")
    cluster.deploy(old)
    slowest = 0.0
    for number, seconds in enumerate(MOMENTS):
        new = own(f"slow-{number}", "Slow")
        cluster.ray.apply([old, new])
        pass_time(seconds)
        cluster.ray.apply([old])
        gone = wait_for_end(cluster, new)
        slowest = max(slowest, gone)
    assert slowest < GONE_SECONDS
    assert cluster.query(old, {}).json()["version"] == "1"


def wait_for_end(cluster: Cluster, application: Application) -> float:
    """The seconds until nothing of it is left."""
    began = time.monotonic()
    wait_until(lambda: is_gone(cluster, application), what=f"the end of {application.name}")
    return time.monotonic() - began


def test_a_model_that_does_not_load_says_why_without_its_secrets(cluster: Cluster):
    application = replace(own("broken", "Broken"), environment={"HUB_TOKEN": "secret-of-the-hub"})
    cluster.ray.apply([application])
    observed = cluster.wait_for(application, Progress.FAILED, seconds=15)
    assert observed.message == "ValueError: the weights are damaged, said [redacted]"
    assert "the weights are damaged" in cluster.ray.logs(application)
    assert "secret-of-the-hub" not in cluster.ray.logs(application)
    assert "Importing application" in cluster.ray.build_logs(application)


def test_a_class_that_does_not_exist_is_named(cluster: Cluster):
    missing = own("missing", "Missing")
    source = replace(missing.source, location="no_such_package:Model")
    cluster.ray.apply([missing, replace(own("elsewhere"), source=source)])
    assert cluster.wait_for(missing, Progress.FAILED, seconds=20).message == (
        "TypeError: tests.engines.models:Missing is not a subclass of ServedModel."
    )
    observed = cluster.wait_for(replace(own("elsewhere"), source=source), Progress.FAILED, seconds=20)
    assert observed.message.startswith("The package no_such_package is missing.")


def test_compute_that_the_cluster_lacks_is_explained(cluster: Cluster):
    application = replace(own("large"), compute=Compute(cpus=64, gpus=0, min_replicas=1, max_replicas=1))
    cluster.ray.apply([application])
    seconds = cluster.wait_for_message(
        application, "One replica asks for 64 CPUs, and the cluster has", seconds=35
    )
    assert seconds <= 35
    assert cluster.ray.observe(application).progress is Progress.DEPLOYING


def test_a_model_starts_from_zero(cluster: Cluster):
    compute = replace(SMALL, min_replicas=0)
    application = replace(own("idle"), compute=compute, idle_seconds=1.0)
    cluster.deploy(application)
    wait_until(lambda: cluster.ray.observe(application).is_scaled_to_zero, what="zero replicas")
    assert cluster.ray.observe(application).progress is Progress.READY  # and it was not started by that
    wait_until(lambda: not cluster.replicas(application), what="the end of the replica")
    reply = cluster.query(application, {})
    assert reply.json()["version"] == "1"
    assert reply.elapsed.total_seconds() < 6 + 3  # and the start of the process


def test_nothing_is_written_when_nothing_changed(cluster: Cluster):
    application = own("same")
    cluster.deploy(application)
    before = cluster.status()["applications"][application.name]["last_deployed_time_s"]
    cluster.ray.apply([own("same")])
    assert cluster.status()["applications"][application.name]["last_deployed_time_s"] == before


def test_applications_of_others_stay_and_their_changes_are_repaired(cluster: Cluster):
    first, second = own("first"), own("second")
    cluster.deploy(first)
    other = {**first.config(), "name": "other", "route_prefix": "/other"}
    http = cluster.status()["http_options"]
    cluster.rest("PUT", "/api/serve/applications/", json={"http_options": http, "applications": [other]})
    assert set(cluster.status()["applications"]) >= {"other"}
    cluster.deploy(first, second)
    cluster.ray.apply([second])
    wait_until(lambda: set(cluster.status()["applications"]) == {"other", second.name}, what="what is wanted")
    assert cluster.status()["applications"]["other"]["deployed_app_config"] == other


def test_several_writers_one_after_the_other_lose_no_application(cluster: Cluster):
    """Each builds its list from the same rows, as the lock in the database makes sure of."""
    wanted: list[Application] = []
    for number in range(4):
        wanted.append(own(f"row-{number}"))
        try:
            cluster.ray.apply(wanted)
        except RayUnavailable:
            cluster.ray.apply(wanted)
    assert {each.name for each in wanted} <= set(cluster.status()["applications"])
