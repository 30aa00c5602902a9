"""A real Ray cluster of this machine, started as `up --ray` starts it, and the applications that tests deploy on it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.ray_serve.application import PREFIX, Application
from serving_ui.backends.ray_serve.client import RayServe, RayUnavailable
from serving_ui.catalogue.compute import Compute
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.lib.egress import EgressPolicy
from serving_ui.processes import ray_cluster
from tests.architecture.sources import ROOT
from tests.engines.polling import wait_until
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, is_alive

START_SECONDS = 120
CPUS = 12  # as many replicas of the smallest size can run at a time, which need little of a CPU
SMALL = Compute(cpus=0.5, gpus=0, min_replicas=1, max_replicas=1, concurrency_per_replica=100)


class Cluster:
    """`ray` is the client under test."""

    def __init__(self, python: str, folder: Path, **env: str) -> None:
        self.plan = ray_cluster.plan(str(folder), python)
        self.token = Path(self.plan.token_file).read_text()
        self.proxies = self.plan.proxies
        self.ray = RayServe(
            self.plan.address, token=self.token, proxies=self.proxies, policy=EgressPolicy(loopback=True)
        )
        self._folder = folder
        self._env = {**os.environ, **self.plan.settings(), "PYTHONPATH": str(ROOT), **env}
        self._stack: contextlib.ExitStack
        self.program: Program

    @contextlib.contextmanager
    def running(self) -> Iterator[Cluster]:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self.start()
            self.wait_until_up()
            yield self
            processes = self.program.descendants()
            self.program.process.terminate()
            assert self.program.wait_for_exit() == 0, self.program.text
            assert not [each for each in processes if is_alive(each)]

    def start(self) -> None:
        """Start it, also again once it has ended, as the supervisor of `up` does."""
        command = [*self.plan.program().command, f"--cpus={CPUS}"]
        self.program = self._stack.enter_context(running_program(command, cwd=self._folder, env=self._env))

    def replicas(self, application: str) -> list[int]:
        """Its processes, named `ray::ServeReplica:serving-ui.x:Model`, or `ray::x:Model.method()` while they run a method."""
        words = f"{application.removeprefix(PREFIX)}:Model"
        titles = {each: command_line(each) for each in self.program.descendants()}
        return [each for each, title in titles.items() if title.startswith("ray::") and words in title]

    def process(self, words: str) -> int:
        """The only process with these words in its command line."""
        found = [each for each in self.program.descendants() if words in command_line(each)]
        assert len(found) == 1, [command_line(each) for each in found]
        return found[0]

    def applications(self) -> set[str]:
        return set(self.status()["applications"])

    def is_gone(self, application: str) -> bool:
        """Whether there is nothing of it: no application, no actor, no placement group, no process."""
        return application not in self.applications() and not self.replicas(application)

    def wait_until_up(self) -> None:
        """Until both nodes are there and Serve has started."""

        def is_up() -> bool:
            assert self.program.process.poll() is None, self.program.text
            try:
                return len(self.nodes()) == 2 and bool(self.status()["controller_info"])
            except (requests.RequestException, KeyError, ValueError):
                return False

        wait_until(is_up, what="the Ray cluster", seconds=START_SECONDS)

    def rest(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to Ray's own REST API, beside the client under test."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, self.plan.address + path, headers=headers, timeout=30, **options)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rest("GET", "/api/serve/applications/").json()
        return found

    def nodes(self) -> list[Any]:
        found = self.rest("GET", "/nodes?view=summary").json()["data"]["summary"]
        return [each for each in found if each["raylet"].get("state") == "ALIVE"]

    def is_quiet(self) -> bool:
        """Whether there is no placement group, and one actor for each replica, beside those of Serve."""
        groups = self._listed("placement_groups")
        actors = [each["name"] for each in self._listed("actors") if each["name"].startswith("SERVE_REPLICA")]
        replicas = [
            one["replica_id"]
            for application in self.status()["applications"].values()
            for deployment in application["deployments"].values()
            for one in deployment["replicas"]
        ]
        return not groups and len(actors) == len(replicas)

    def _listed(self, kind: str) -> list[Any]:
        """The actors or placement groups that have not ended."""
        found = self.rest("GET", f"/api/v0/{kind}?limit=1000").json()["data"]["result"]["result"]
        return [each for each in found if each["state"] not in ("DEAD", "REMOVED")]

    def remove(self, name: str) -> None:
        """Remove an application of somebody else, and wait for its end."""
        details = self.status()
        rest = [
            each["deployed_app_config"] for other, each in details["applications"].items() if other != name
        ]
        body = {"http_options": details["http_options"], "applications": rest}
        self.rest("PUT", "/api/serve/applications/", json=body)
        wait_until(lambda: name not in self.applications(), what=f"the end of {name}")

    def deploy(self, *applications: Application, seconds: float = 60) -> float:
        """Apply them, and wait until all are ready. Returns the seconds that it took."""
        began = time.monotonic()
        self.ray.apply(applications)
        for each in applications:
            observed = self.wait_for(each, Progress.READY, Progress.FAILED, seconds=seconds)
            assert observed.progress is Progress.READY, observed
        return time.monotonic() - began

    def wait_for(self, application: Application, *progress: Progress, seconds: float = 60) -> Observation:
        """Wait until it is observed with one of these."""
        last = self.ray.observe(application)

        def observed() -> bool:
            nonlocal last
            last = self.ray.observe(application)
            return last.progress in progress

        try:
            wait_until(observed, what=f"{application.name} to be {progress}", seconds=seconds)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; the last observation was {last}") from None
        return last

    def wait_for_message(self, application: Application, words: str, *, seconds: float) -> float:
        """Wait until the observation says it. Returns the seconds that it took."""
        began = time.monotonic()
        wait_until(lambda: words in self.ray.observe(application).message, what=words, seconds=seconds)
        return time.monotonic() - began

    def query(
        self, application: Application, body: Any, *, proxy: int = 0, seconds: float = 60
    ) -> requests.Response:
        return requests.post(self.proxies[proxy] + application.query_path, json=body, timeout=seconds)

    def remove_all(self) -> None:
        """Remove all applications, of others too, and wait until their replicas are gone."""

        def is_empty() -> bool:
            try:
                current = self.status()
                if not current["applications"]:
                    return True
                options = {
                    name: current[name] for name in ("proxy_location", "http_options") if current.get(name)
                }
                self.rest("PUT", "/api/serve/applications/", json={**options, "applications": []})
            except (requests.RequestException, RayUnavailable, KeyError, ValueError):
                pass
            return False

        wait_until(is_empty, what="a cluster without applications")


def own(name: str, model: str = "Versioned", *, version: str = "1", **changes: Any) -> Application:
    """An application of a class in tests/engines/models."""
    source = ModelSource(
        SourceKind.DEPLOYMENT, f"tests.engines.models:{model}", engine_arguments={"version": version}
    )
    application = Application(f"serving-ui.{name}", f"/serving-ui/{name}", source, SMALL)
    return replace(application, **changes)
