"""Runs the services of compose.yaml with podman, one `podman run` each, in the order of `depends_on`.

Not podman-compose: before podman 4.6 it does not wait for health checks, and without systemd podman does not run them.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from tests.containers import compose
from tests.support.waiting import wait_until

SECONDS = 300.0
SUPPORTED = frozenset(
    [
        "image",
        "build",
        "environment",
        "networks",
        "volumes",
        "tmpfs",
        "read_only",
        "cap_drop",
        "cap_add",
        "security_opt",
        "init",
        "restart",
        "depends_on",
        "command",
        "healthcheck",
        "stop_grace_period",
        "ports",
    ]
)


def podman(*arguments: str, check: bool = True, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["podman", *arguments], check=False, capture_output=True, text=True, timeout=seconds
    )
    assert not check or done.returncode == 0, (
        f"podman {arguments}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    )
    return done


class Stack:
    """The project: its containers, networks and volumes have names with their own prefix."""

    def __init__(self, project: str, environment: Mapping[str, str]) -> None:
        self.project = project
        self._file = compose.load(environment)
        self.services: dict[str, dict[str, Any]] = self._file["services"]

    def up(self) -> None:
        """Start the services and wait until all with a health check are healthy."""
        for name, options in self._file["networks"].items():
            internal = ["--internal"] if options.get("internal") else []
            podman("network", "create", *internal, self._name(name))
        started: set[str] = set()
        while len(started) < len(self.services):
            for name, service in self.services.items():
                if name not in started and started.issuperset(service.get("depends_on", {})):
                    self._start(name, service)
                    started.add(name)
        for name in ("web", "gateway"):
            self.wait_until_healthy(name)

    def down(self) -> None:
        """Remove everything of the project."""
        for name in reversed(self.services):
            podman("rm", "--force", "--time", "5", "--volumes", self._name(name), check=False)
        for name in self._file["volumes"]:
            podman("volume", "rm", "--force", self._name(name), check=False)
        for name in self._file["networks"]:
            podman("network", "rm", "--force", self._name(name), check=False)

    def exec(self, service: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return podman("exec", self._name(service), *command, check=check)

    def restart(self, service: str) -> None:
        podman("restart", self._name(service), seconds=2 * SECONDS)

    def is_healthy(self, service: str) -> bool:
        return podman("healthcheck", "run", self._name(service), check=False).returncode == 0

    def wait_until_healthy(self, service: str) -> None:
        try:
            wait_until(lambda: self.is_healthy(service), what=f"{service} to be healthy", seconds=SECONDS)
        except AssertionError as error:
            log = podman("logs", "--tail", "40", self._name(service), check=False)
            raise AssertionError(f"{error}: {log.stdout} {log.stderr}") from None

    def _start(self, name: str, service: dict[str, Any]) -> None:
        for other, options in service.get("depends_on", {}).items():
            if options["condition"] == "service_healthy":
                self.wait_until_healthy(other)
            else:
                assert options["condition"] == "service_completed_successfully"
                code = podman("wait", self._name(other)).stdout.strip()
                assert code == "0", podman("logs", self._name(other)).stderr
        podman("run", "--detach", "--name", self._name(name), *self._options(name, service))

    def _name(self, name: str) -> str:
        return f"{self.project}-{name}"

    def _options(self, name: str, service: dict[str, Any]) -> Iterator[str]:
        unknown = service.keys() - SUPPORTED
        assert not unknown, f"compose.yaml sets what this runner does not pass on: {unknown}"
        for network in service.get("networks", ["default"]):
            yield f"--network={self._name(network)}:alias={name}"
        for variable, value in service.get("environment", {}).items():
            yield f"--env={variable}={value}"
        for volume in service.get("volumes", []):
            yield f"--volume={self._name(volume)}"
        yield from (f"--tmpfs={each}" for each in service.get("tmpfs", []))
        if service.get(
            "read_only"
        ):  # podman adds writable folders by itself unless told not to, Docker does not
            yield from ("--read-only", "--read-only-tmpfs=false")
        yield from (f"--cap-drop={each}" for each in service.get("cap_drop", []))
        yield from (f"--cap-add={each}" for each in service.get("cap_add", []))
        yield from (f"--security-opt={each.replace(':true', '')}" for each in service.get("security_opt", []))
        yield from (f"--publish={each}" for each in service.get("ports", []))
        yield f"--init={json.dumps(service.get('init', False))}"
        yield f"--restart={service.get('restart', 'no')}"
        if grace := service.get("stop_grace_period"):
            yield f"--stop-timeout={grace.removesuffix('s')}"
        check = service.get("healthcheck", {})
        if check.get("disable"):
            yield "--no-healthcheck"
        elif check:
            form, *words = check["test"]  # podman 4.3 cannot read the form CMD
            script = shlex.join(words) if form == "CMD" else words[0]
            yield f"--health-cmd={json.dumps(['CMD-SHELL', script])}"
        yield service["image"]
        yield from service.get("command", [])
