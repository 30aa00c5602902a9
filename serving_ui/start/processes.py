"""The commands of the two processes that `up` runs: the server, and the Celery worker with its beat."""

from __future__ import annotations

import sys

from serving_ui.start.options import Options


def server(options: Options) -> list[str]:
    """Pages, API and gateway in one process."""
    return [
        sys.executable,
        *("-m", "granian", "--interface", "asgi", "--host", options.host, "--port", str(options.port)),
        *("--workers", "1", "--no-access-log", "--log-level", "warning"),
        "serving_ui.asgi:application",
    ]


def worker(*, data_folder: str) -> list[str]:
    """Deployments, and the sweep that finds those that are due."""
    return [
        sys.executable,
        *("-m", "celery", "--app", "serving_ui", "--quiet", "worker", "--loglevel", "warning"),
        *("--beat", "--schedule", f"{data_folder}/beat"),
        *("--pool", "threads", "--concurrency", "4"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
