"""What pages and `up` tell each other about the models on this machine, in files of the folder `DATA/local-model`.

    wanted             exists while an admin wants the models; its content changes with each click
    status.json        what the process `local models` does; the pages show it
    ports.json         the ports of the servers, which the outbound policy of all processes allows; `up` chooses them
    connections.json   the port and the API key of each model; only for its owner
    running.lock       locked while `up` runs

`up` has no Django and no database, so the two sides share files. They are on one machine: only `up` starts models.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FOLDER = "local-model"
ENVIRONMENT = "environment"
LOCK_FILE = "serving_ui/local_model/requirements.lock"
HOST = "127.0.0.1"
MAX_WISH_CHARS = 100


class Phase(StrEnum):
    STOPPED = "STOPPED"
    INSTALLING = "INSTALLING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"  # at least one model answers
    FAILED = "FAILED"


@dataclass(frozen=True)
class ModelStatus:
    name: str
    is_ready: bool = False
    message: str = ""  # why it is not ready, in a sentence
    last_output: str = ""  # of its server, when it ended by itself


@dataclass(frozen=True)
class Status:
    phase: Phase = Phase.STOPPED
    message: str = ""  # why it failed, in a sentence
    megabytes: int = 0  # installed until now
    models: tuple[ModelStatus, ...] = ()

    @property
    def is_changing(self) -> bool:
        return self.phase in (Phase.INSTALLING, Phase.STARTING)


@dataclass(frozen=True)
class Connection:
    """How the server of one model is reached, on 127.0.0.1."""

    port: int
    key: str = field(repr=False)

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"


@dataclass(frozen=True)
class Files:
    data_folder: Path

    @property
    def folder(self) -> Path:
        return self.data_folder / FOLDER

    @property
    def environment(self) -> Path:
        return self.folder / ENVIRONMENT

    def want(self) -> None:
        """Makes `up` start the models, or try again."""
        self._write("wanted", secrets.token_hex(8))

    def stop_wanting(self) -> None:
        (self.folder / "wanted").unlink(missing_ok=True)

    def wish(self) -> str:
        """Empty if nobody wants the models. It differs after each `want`."""
        try:
            with (self.folder / "wanted").open(encoding="utf-8", errors="replace") as file:
                return file.read(MAX_WISH_CHARS) or "wanted"
        except OSError:
            return ""

    def status(self) -> Status:
        """STOPPED if there is no readable file."""
        content = self._read("status.json")
        try:
            models = tuple(ModelStatus(**each) for each in content.pop("models", ()))
            return Status(**{**content, "phase": Phase(content["phase"]), "models": models})
        except (KeyError, TypeError, ValueError):
            return Status()

    def write_status(self, status: Status) -> None:
        self._write("status.json", json.dumps(asdict(status)))

    def reserve_ports(self, number: int) -> tuple[int, ...]:
        """As many ports of loopback as `number`: those of the last time, and others for those that another program uses now."""
        former = [port for port in self.ports()[:number] if is_free(port)]
        with contextlib.ExitStack() as held:
            probes = [held.enter_context(socket.socket()) for _ in range(number - len(former))]
            for probe in probes:
                probe.bind((HOST, 0))
            ports = (*former, *(int(probe.getsockname()[1]) for probe in probes))
        if ports != self.ports():
            self._write("ports.json", json.dumps({"ports": ports}))
        return ports

    def ports(self) -> tuple[int, ...]:
        try:
            return tuple(int(port) for port in self._read("ports.json")["ports"])
        except (KeyError, TypeError, ValueError):
            return ()

    def connections(self) -> dict[str, Connection]:
        """By the models' names."""
        content = self._read("connections.json")
        try:
            return {name: Connection(int(each["port"]), str(each["key"])) for name, each in content.items()}
        except (KeyError, TypeError, ValueError):
            return {}

    def write_connections(self, connections: Mapping[str, Connection]) -> None:
        self._write(
            "connections.json", json.dumps({name: asdict(each) for name, each in connections.items()})
        )

    def lock_as_running(self) -> int:
        """Waits until no other process holds the lock. Returns its file descriptor."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "running.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def is_up_running(self) -> bool:
        """Whether `up` runs on this data folder, and so starts what is wanted."""
        try:
            lock = os.open(self.folder / "running.lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, text: str) -> None:
        """Replaces the file atomically; only its owner can read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.folder / f"{name}.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        new.replace(self.folder / name)


def is_free(port: int) -> bool:
    """Whether no program listens on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
