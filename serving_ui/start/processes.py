"""The processes that `up` runs: the server, the Celery worker, and beat; and those of `gateway`.

Beat is a process of its own, though `celery worker --beat` exists: embedded, it would be a child of the worker that
nobody starts again when it is killed, and without its sweep a lost message would never be made up for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from serving_ui.lib import env

# Not the folder in which the person happens to stand: a file there could be taken for a module of ours.
_RUN = ("-P", "-m")
DRAIN_SECONDS = 300  # a little more than the longest answer that an endpoint allows by default
FAREWELL_SECONDS = 15.0  # beyond that, to put away what it holds
STOP_SECONDS = 6.0  # what a worker was doing then is found again by the next sweep


@dataclass(frozen=True)
class Program:
    """What is run; the open files that it gets under the same numbers; how many seconds it has to end."""

    command: list[str]
    files: tuple[int, ...] = ()
    patience: float = STOP_SECONDS


def environment(root: str) -> dict[str, str]:
    """What they are started with, besides what `up` itself has. What no setting is called has been told once already."""
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    unknown = set(env.unknown())
    known = {name: value for name, value in os.environ.items() if name not in unknown}
    return {**known, "PYTHONPATH": path, "CELERY_SKIP_CHECKS": "1"}  # the tests have made the checks


def server(*, listeners: tuple[int, ...]) -> Program:
    """Pages, API and gateway in one process; `listeners` are files that it is started with."""
    files = [part for each in listeners for part in ("--listen", str(each))]
    command = [sys.executable, *_RUN, "serving_ui.start.server", *files]
    return Program(
        [*command, "--drain-seconds", str(DRAIN_SECONDS)],
        files=listeners,
        patience=DRAIN_SECONDS + FAREWELL_SECONDS,
    )


def gateway_worker(
    *, port: int, ready: int, drain_seconds: int, successor: bool, place: int, workers: int
) -> list[str]:
    """One of the processes of `manage.py gateway`; `port` and `ready` are files that it is started with."""
    files = ("--listen", str(port), "--ready", str(ready))
    standing = ("--place", str(place), "--workers", str(workers))
    patience = ("--drain-seconds", str(drain_seconds))
    last = ("--successor",) if successor else ()
    return [sys.executable, *_RUN, "serving_ui.start.gateway_worker", *files, *standing, *patience, *last]


def worker() -> Program:
    """Deployments."""
    options = ("worker", "--loglevel", "warning", "--pool", "threads", "--concurrency", "4")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return Program([*_celery(), *options, *alone])


def beat(*, data_folder: str) -> Program:
    """The sweep that finds the deployments that are due."""
    schedule = ("--schedule", os.path.join(data_folder, "beat"))
    return Program([*_celery(), "beat", "--loglevel", "warning", *schedule])


def _celery() -> list[str]:
    quiet_about_root = "ignore:You're running the worker with superuser privileges"  # usual in a container
    return [sys.executable, "-W", quiet_about_root, *_RUN, "celery", "--app", "serving_ui", "--quiet"]
