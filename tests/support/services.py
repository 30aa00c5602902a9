"""Runs PostgreSQL and Redis on free ports with temporary data folders."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.support.waiting import free_port, wait_until


class Service:
    """A program that can be stopped and started again on the same data."""

    def __init__(self, command: list[str], *, answers: Callable[[], object], user: dict[str, Any]) -> None:
        self._command = command
        self._answers = answers
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )
        wait_until(self._has_started, what=f"{Path(self._command[0]).name} to answer")

    def _has_started(self) -> object:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command[0]} has ended"
        return self._answers()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it. Its clients lose their connections."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within the block the process is stopped: connections stay open and new ones are accepted, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_postgresql() -> Iterator[tuple[Service, str]]:
    """The server and the address of an empty database."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    initdb, postgres = (shutil.which(each) or f"{programs}/{each}" for each in ("initdb", "postgres"))
    user = _unprivileged("postgres")
    port = free_port()
    url = f"postgresql://serving_ui@127.0.0.1:{port}/postgres"
    with _folder(user) as folder:
        first = [
            initdb,
            "-D",
            f"{folder}/data",
            "-U",
            "serving_ui",
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
        ]
        subprocess.run([*first, "-E", "UTF8"], check=True, capture_output=True, **user)
        options = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off"),
        }
        command = [postgres, "-D", f"{folder}/data", *(f"--{name}={is_}" for name, is_ in options.items())]
        service = Service(command, answers=lambda: _takes_connections(url), user=user)
        service.start()
        try:
            yield service, url
        finally:
            service.stop()


@contextmanager
def running_redis() -> Iterator[tuple[Service, str]]:
    """The server and its address."""
    user = _unprivileged("nobody")
    port = free_port()
    with _folder(user) as folder:
        command = [
            shutil.which("redis-server") or "redis-server",
            *(
                "--bind",
                "127.0.0.1",
                "--port",
                str(port),
                "--dir",
                folder,
                "--save",
                "",
                "--appendonly",
                "no",
            ),
        ]
        service = Service(command, answers=lambda: _pings(port), user=user)
        service.start()
        try:
            yield service, f"redis://127.0.0.1:{port}/0"
        finally:
            service.stop(signal.SIGTERM)


def _unprivileged(name: str) -> dict[str, Any]:
    """The Popen arguments to run as this user if the tests run as root: PostgreSQL does not start as root."""
    if os.geteuid() != 0:
        return {}
    who = pwd.getpwnam(name)
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@contextmanager
def _folder(user: dict[str, Any]) -> Iterator[str]:
    """A temporary folder that `user` owns. Pytest's folders are not readable by other users."""
    folder = tempfile.mkdtemp(prefix="serving-ui-service-")
    try:
        if user:
            os.chown(folder, user["user"], user["group"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _takes_connections(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _pings(port: int) -> bool:
    with redis.Redis(port=port, socket_timeout=2) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
