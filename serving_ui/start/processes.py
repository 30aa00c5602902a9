"""The commands of the two processes that `up` runs: the server, and the Celery worker with its beat."""

from __future__ import annotations

import os
import sys

from serving_ui.start.options import Options

# Not the folder in which the person happens to stand: a file there could be taken for a module of ours.
_PYTHON = (sys.executable, "-P", "-m")


def environment(root: str) -> dict[str, str]:
    """What both are started with, besides what `up` itself has."""
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "CELERY_SKIP_CHECKS": "1"}  # the tests have made the checks


def server(options: Options) -> list[str]:
    """Pages, API and gateway in one process."""
    return [
        *_PYTHON,
        *("uvicorn", "--host", options.host, "--port", str(options.port)),
        *("--loop", "uvloop", "--http", "httptools", "--lifespan", "on"),
        *("--no-access-log", "--log-level", "warning", "--no-server-header"),
        *("--timeout-graceful-shutdown", "3"),
        "serving_ui.asgi:application",
    ]


def worker(*, data_folder: str) -> list[str]:
    """Deployments, and the sweep that finds those that are due."""
    return [
        *_PYTHON,
        *("celery", "--app", "serving_ui", "--quiet", "worker", "--loglevel", "warning"),
        *("--beat", "--schedule", f"{data_folder}/beat"),
        *("--pool", "threads", "--concurrency", "4"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
