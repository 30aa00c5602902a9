"""`python -m tests.usage.killed_worker`: kills an ingesting worker once at every possible step.

A step is a database statement, a commit, or the deletion of a file; the worker is killed before it and after it. Prints the number
of kills and figures of the tables after the next worker has finished the work. Settings come from the environment.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Count, Sum

from serving_ui.gateway.spool import Spool
from serving_ui.lib import clock
from serving_ui.usage import ingest as ingest_module
from serving_ui.usage.models import Minute, Request
from tests.usage.conftest import record

ROWS = 5


class Steps:
    """Counts steps, and kills this process at step number `fatal`."""

    def __init__(self, *, fatal: int) -> None:
        self.left = fatal

    def count_step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count_step()
            done = action(*args, **kwargs)
            self.count_step()
            return done

        return counted


def ingest_in_fork(*, fatal: int = 0) -> bool:
    """Ingest in a forked process; False if it was killed."""
    connections.close_all()
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == 0
    steps = Steps(fatal=fatal)
    connection.commit = steps.counting(connection.commit)  # type: ignore[method-assign]
    Path.unlink = steps.counting(Path.unlink)  # type: ignore[method-assign]
    with connection.execute_wrapper(lambda execute, *args: steps.counting(execute)(*args)):
        ingest_module.ingest(folder=settings.SPOOL_FOLDER, clock=clock.now)
    os._exit(0)


def main() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    ingest_module.BATCH_LINES = 3  # two batches for each file
    kills, answered, survived = 0, 0, False
    while not survived:
        spool = Spool(settings.SPOOL_FOLDER)
        for _ in range(ROWS):
            answered += 1
            spool.record(record(str(answered)))
        spool.stop()
        survived = ingest_in_fork(fatal=kills + 1)
        kills += not survived
        ingest_in_fork()
    names = Request.objects.aggregate(all=Count("pk"), different=Count("request_id", distinct=True))
    left = len(list(settings.SPOOL_FOLDER.iterdir()))
    minutes = Minute.objects.aggregate(all=Sum("requests"))["all"]
    figures = (kills, answered, names["all"], names["different"], minutes, left)
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
    call_command("check_usage")


if __name__ == "__main__":
    main()
