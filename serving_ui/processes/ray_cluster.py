"""How the Ray cluster of `up --ray` is started: its ports, its token, its command, and the settings by which the product finds it."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from serving_ui.bootstrap import environment
from serving_ui.processes.programs import Program

LOCK = "serving_ui/backends/ray_serve/requirements.lock"
PORTS = ("gcs-port", "dashboard-port", "agent-port", "head-proxy-port", "proxy-port")
MIN_CPUS = 4  # as many replicas of the smallest size can run at a time, even on a small machine
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class RayCluster:
    """`python` is that of the environment with Ray, `ports` are in the order of PORTS."""

    python: str
    token_file: str
    ports: tuple[int, ...]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def proxies(self) -> tuple[str, ...]:
        return tuple(f"http://127.0.0.1:{port}" for port in self.ports[3:])

    def settings(self) -> dict[str, str]:
        """The environment variables of all processes of the product."""
        return {
            "SERVING_UI_RAY_ADDRESS": self.address,
            "SERVING_UI_RAY_PROXIES": ",".join(self.proxies),
            "SERVING_UI_RAY_TOKEN_FILE": self.token_file,
            "RAY_AUTH_TOKEN_PATH": self.token_file,
        }

    def program(self) -> Program:
        options = [f"--{name}={port}" for name, port in zip(PORTS, self.ports, strict=True)]
        cpus = max(MIN_CPUS, os.cpu_count() or 1)
        command = [self.python, "-P", "-m", "serving_ui.backends.ray_serve.local_cluster"]
        # No heartbeats: starting a node takes longer than their silence may last, and the cluster's health is checked through its API.
        return Program(
            [*command, *options, f"--cpus={cpus}"], stop_seconds=STOP_SECONDS, has_heartbeats=False
        )


def prepare(root: str, data_folder: str) -> RayCluster:
    """Install Ray in the data folder if it is not there, and plan a cluster. Raises StartError."""
    folder = os.path.join(data_folder, "ray")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    place = os.path.join(folder, "environment")
    notice = "Installing Ray, which takes a minute or two and one gigabyte of the data folder."
    environment.prepare(root, place, (LOCK,), lock_folder=folder, notice=notice)
    return plan(folder, environment.python_of(place))


def plan(folder: str, python: str) -> RayCluster:
    """A cluster with a new token, in a file of `folder`, and free ports."""
    token_file = os.path.join(folder, "token")
    with open(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in PORTS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = tuple(int(probe.getsockname()[1]) for probe in probes)
    return RayCluster(python, token_file, ports)
