"""The process that `manage.py up` becomes after the preparation: a `processes.supervisor.Supervisor` of server, worker and beat.

It has no Django, which saves 50 MB. `become_supervisor` calls exec, so process id, umask and the lock on the data folder stay.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from serving_ui.bootstrap.errors import StartError
from serving_ui.local_model.files import HOST
from serving_ui.processes import programs
from serving_ui.processes.ray_cluster import RayCluster
from serving_ui.processes.supervisor import STOP_SIGNALS, Supervisor
from serving_ui.server import ports
from serving_ui.server.address import ListenAddress

ALLOWED = "SERVING_UI_EGRESS_ALLOW"


def become_supervisor(
    address: ListenAddress,
    *,
    root: str,
    data_folder: str,
    lock: int,
    ray: RayCluster | None,
    model_ports: Sequence[int],
    sockets: Sequence[socket.socket],
    ready_text: str,
) -> NoReturn:
    """`lock` is the open lock of the data folder; `ready_text` is printed once the server is ready; `ray` is
    started, too; `model_ports` are those of the models on this machine."""
    read_end, write_end = (
        os.pipe()
    )  # not an argument, which every user of the machine can read: it may hold a sign-in link
    os.write(write_end, ready_text.encode())
    os.close(write_end)
    listeners = [each.fileno() for each in sockets]
    for file in (lock, read_end, *listeners):
        os.set_inheritable(file, True)
    command = [sys.executable, "-P", "-m", "serving_ui.management.up_process"]
    command += [
        "--host",
        address.host,
        "--port",
        str(address.port),
        "--data-folder",
        data_folder,
        "--root",
        root,
    ]
    command += ["--ready-text", str(read_end), *(f"--listen={each}" for each in listeners)]
    if ray:
        command += ["--ray-python", ray.python, "--ray-token-file", ray.token_file]
        command += [f"--ray-port={port}" for port in ray.ports]
        os.environ.update(ray.settings())
    _allow(model_ports)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until the supervisor has installed its handlers
    os.execve(sys.executable, command, programs.environment(root))  # noqa: S606 -- an argument list, no shell


def _allow(ports: Sequence[int]) -> None:
    """Lists ports of this machine in the outbound policy of all processes."""
    listed = os.environ.get(ALLOWED, "").strip()
    os.environ[ALLOWED] = ",".join([*filter(None, [listed]), *(f"{HOST}:{port}" for port in ports)])


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-folder", required=True)
    parser.add_argument(
        "--listen", type=int, action="append", required=True, help="file descriptor of a socket"
    )
    parser.add_argument("--ready-text", type=int, required=True, help="file descriptor of a pipe")
    parser.add_argument("--ray-python")
    parser.add_argument("--ray-token-file")
    parser.add_argument("--ray-port", type=int, action="append")
    parser.add_argument("--root", required=True)
    options = parser.parse_args()
    address = ListenAddress(host=options.host, port=options.port)
    with open(options.ready_text, encoding="utf-8") as pipe:
        ready_text = pipe.read()
    children = {
        "server": programs.server(listeners=tuple(options.listen)),
        "worker": programs.worker(),
        "beat": programs.beat(data_folder=options.data_folder),
        "local models": programs.local_models(root=options.root, data_folder=options.data_folder),
    }
    if options.ray_python:
        ray = RayCluster(options.ray_python, options.ray_token_file, tuple(options.ray_port))
        children["Ray cluster"] = ray.program()
    supervisor = Supervisor(
        children,
        sockets=[socket.socket(fileno=each) for each in options.listen],
        is_ready=lambda: ports.is_ready(address),
        when_ready=lambda: print(ready_text, flush=True),
    )
    try:
        supervisor.run()
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
