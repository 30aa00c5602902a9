"""A Ray cluster on this machine, for `manage.py up --ray` and the tests. Run by the Python of Ray's environment, which has no Django.

Two nodes, so that there are two proxies: the head, which runs no models, and one that does. Every port is on loopback and asks for the
token of RAY_AUTH_TOKEN_PATH, apart from the proxies, which ask for none, and the port of each replica for requests of other replicas,
which Ray opens on all addresses and which asks for the token.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 80 * 1024 * 1024
START_SECONDS = 60.0
STOP_SECONDS = 3.0
POLL_SECONDS = 0.5
ENVIRONMENT = {
    # Ray's switch for its one-machine mode: without it Ray listens on the addresses of all networks.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DASHBOARD_REDACT_RUNTIME_ENV": "1",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


def main() -> int:
    """Runs the cluster until a signal. Returns 1 if the head has ended by itself."""
    parser = argparse.ArgumentParser()
    for port in ("--gcs-port", "--dashboard-port", "--agent-port", "--head-proxy-port", "--proxy-port"):
        parser.add_argument(port, type=int, required=True)
    parser.add_argument("--cpus", type=float, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.update(ENVIRONMENT, RAY_SERVE_WORKER_PROXY_HTTP_PORT=str(options.proxy_port))
    # Not in the data folder: the paths of Unix sockets have at most 107 characters.
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        return _run(options, folder)
    except KeyboardInterrupt:
        return 0
    finally:
        _end_session()
        shutil.rmtree(folder, ignore_errors=True)


def _run(options: argparse.Namespace, folder: str) -> int:
    head = _start_node(
        head=True,
        num_cpus=0,
        gcs_server_port=options.gcs_port,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=options.dashboard_port,
        dashboard_agent_listen_port=options.agent_port,
        temp_dir=folder,
    )

    def start_worker() -> Any:
        return _start_node(
            head=False,
            num_cpus=options.cpus,
            gcs_address=head.gcs_address,
            dashboard_agent_listen_port=None,
        )

    worker = start_worker()
    _start_serve(options.dashboard_port, options.head_proxy_port)
    while not head.dead_processes():
        if worker.dead_processes():
            worker.kill_all_processes(check_alive=False)
            worker = start_worker()
        time.sleep(POLL_SECONDS)
    sys.stderr.write("The head of the Ray cluster has ended.\n")
    return 1


def _start_node(*, head: bool, **parameters: Any) -> Any:
    """The processes of one node. `ray start` has no option for two nodes in Ray's one-machine mode."""
    from ray._private.node import Node  # noqa: PLC0415 - after ENVIRONMENT, which Ray reads when it is imported
    from ray._private.parameter import RayParams  # noqa: PLC0415

    found = RayParams(
        node_ip_address="127.0.0.1",
        node_manager_port=0,
        min_worker_port=0,
        max_worker_port=0,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_log_monitor=False,
        **parameters,
    )
    return Node(found, head=head, shutdown_at_exit=False, spawn_reaper=True)


def _start_serve(dashboard_port: int, proxy_port: int) -> None:
    """Start Serve with its proxies on loopback, which a later PUT cannot change, unless it runs already: Redis keeps what it ran."""
    body = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": proxy_port},
        "applications": [],
    }
    address = f"http://127.0.0.1:{dashboard_port}/api/serve/applications/"
    headers = {"Authorization": f"Bearer {_token()}", "Content-Type": "application/json"}
    read = urllib.request.Request(address, headers=headers)
    write = urllib.request.Request(address, json.dumps(body).encode(), headers, method="PUT")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(read, timeout=START_SECONDS) as reply:  # noqa: S310 -- an address of our own
                is_running = bool(json.load(reply)["controller_info"])
            if not is_running:
                urllib.request.urlopen(write, timeout=START_SECONDS).close()  # noqa: S310
            return
        except OSError:  # the dashboard is starting
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _token() -> str:
    return Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8").strip()


def _end_session() -> None:
    """End all other processes of this session: Ray's, its workers, and those that their parent left behind."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        until = time.monotonic() + seconds
        for process in _session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        while _session() and time.monotonic() < until:
            _collect_children()
            time.sleep(0.05)


def _session() -> list[int]:
    """The other running processes of this session."""
    own, found = os.getsid(0), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            state, _parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == own and state != "Z" and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def _collect_children() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main())
