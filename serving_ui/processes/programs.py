"""The command lines of the processes that `up` runs (server, Celery worker, beat) and of the workers of `gateway`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from serving_ui.lib import env

# -P: leaves the current folder off the module path, where a file could hide one of our modules.
_RUN = ("-P", "-m")
DRAIN_SECONDS = 300  # a little more than the longest answer that an endpoint allows by default
CLEANUP_SECONDS = 15.0  # after the drain, to write what is in memory
STOP_SECONDS = 6.0  # a task of a Celery worker that takes longer is repeated by the next sweep


@dataclass(frozen=True)
class Program:
    """`files` are open files that the process inherits under the same numbers; `stop_seconds` lie between SIGTERM and SIGKILL."""

    command: list[str]
    files: tuple[int, ...] = ()
    stop_seconds: float = STOP_SECONDS
    has_heartbeats: bool = True  # without them it is not killed when it is silent
    is_optional: bool = False  # the product runs without it


def environment(root: str) -> dict[str, str]:
    """The environment variables of all processes. Leaves out unknown SERVING_UI_ names, about which `up` has warned already."""
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    unknown = set(env.unknown_settings())
    known = {name: value for name, value in os.environ.items() if name not in unknown}
    return {**known, "PYTHONPATH": path, "CELERY_SKIP_CHECKS": "1"}  # the tests run Django's system checks


def server(*, listeners: tuple[int, ...]) -> Program:
    """Pages, API and gateway in one process; `listeners` are the file descriptors of its sockets."""
    files = [part for each in listeners for part in ("--listen", str(each))]
    command = [sys.executable, *_RUN, "serving_ui.server", *files]
    return Program(
        [*command, "--drain-seconds", str(DRAIN_SECONDS)],
        files=listeners,
        stop_seconds=DRAIN_SECONDS + CLEANUP_SECONDS,
    )


def gateway_worker(
    *, listener: int, ready: int, drain_seconds: int, is_successor: bool, rank: int, workers: int
) -> list[str]:
    """One of the processes of `manage.py gateway`; `listener` and `ready` are file descriptors, as in Fleet."""
    files = ("--listen", str(listener), "--ready", str(ready))
    share = ("--place", str(rank), "--workers", str(workers))
    drain = ("--drain-seconds", str(drain_seconds))
    successor = ("--successor",) if is_successor else ()
    return [sys.executable, *_RUN, "serving_ui.server.gateway_worker", *files, *share, *drain, *successor]


def worker() -> Program:
    """Celery's worker, which deploys endpoints and ingests usage."""
    options = ("worker", "--loglevel", "warning", "--pool", "threads", "--concurrency", "4")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return Program([*_celery(), *options, *alone])


def beat(*, data_folder: str) -> Program:
    """Celery's scheduler, in a process of its own. Embedded (`celery worker --beat`) it would be a child of the worker that nothing
    restarts when it is killed, and without its periodic sweep the work of a lost message would never be done."""
    schedule = ("--schedule", os.path.join(data_folder, "beat"))
    return Program([*_celery(), "beat", "--loglevel", "warning", *schedule])


def local_models(*, root: str, data_folder: str) -> Program:
    """Runs models on this machine while an admin wants them."""
    folders = ("--root", root, "--data-folder", data_folder)
    command = [sys.executable, *_RUN, "serving_ui.processes.local_models", *folders]
    return Program(command, is_optional=True)


def _celery() -> list[str]:
    quiet_about_root = "ignore:You're running the worker with superuser privileges"  # usual in a container
    return [sys.executable, "-W", quiet_about_root, *_RUN, "celery", "--app", "serving_ui", "--quiet"]
