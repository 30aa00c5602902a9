"""The processes that `up` runs: the server, the Celery worker, and beat; and those of `gateway`.

Beat is a process of its own, though `celery worker --beat` exists: embedded, it would be a child of the worker that
nobody starts again when it is killed, and without its sweep a lost message would never be made up for.
"""

from __future__ import annotations

import os
import sys

from serving_ui.start.options import Options

# Not the folder in which the person happens to stand: a file there could be taken for a module of ours.
_RUN = ("-P", "-m")


def environment(root: str) -> dict[str, str]:
    """What they are started with, besides what `up` itself has."""
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "CELERY_SKIP_CHECKS": "1"}  # the tests have made the checks


def server(options: Options) -> list[str]:
    """Pages, API and gateway in one process."""
    address = ("--host", options.host, "--port", str(options.port))
    return [sys.executable, *_RUN, "serving_ui.start.server", *address]


def gateway_worker(
    *, port: int, ready: int, drain_seconds: int, successor: bool, place: int, workers: int
) -> list[str]:
    """One of the processes of `manage.py gateway`; `port` and `ready` are files that it is started with."""
    files = ("--listen", str(port), "--ready", str(ready))
    standing = ("--place", str(place), "--workers", str(workers))
    patience = ("--drain-seconds", str(drain_seconds))
    last = ("--successor",) if successor else ()
    return [sys.executable, *_RUN, "serving_ui.start.gateway_worker", *files, *standing, *patience, *last]


def worker() -> list[str]:
    """Deployments."""
    return [
        *_celery(),
        *("worker", "--loglevel", "warning", "--pool", "threads", "--concurrency", "4"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def beat(*, data_folder: str) -> list[str]:
    """The sweep that finds the deployments that are due."""
    return [*_celery(), "beat", "--loglevel", "warning", "--schedule", os.path.join(data_folder, "beat")]


def _celery() -> list[str]:
    quiet_about_root = "ignore:You're running the worker with superuser privileges"  # usual in a container
    return [sys.executable, "-W", quiet_about_root, *_RUN, "celery", "--app", "serving_ui", "--quiet"]
