"""`manage.py gateway`: the data plane alone, in as many processes as wanted, on one port.

Only the order of things is decided here; each of them is in serving_ui/start.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from serving_ui.start import options, port, processes
from serving_ui.start.fleet import Fleet
from serving_ui.start.processes import DRAIN_SECONDS
from serving_ui.start.server import BACKLOG

PORT = 8081  # beside the server's


class Command(BaseCommand):
    help = "Answer queries, and nothing else. SIGTERM lets what runs finish; SIGHUP replaces the workers one by one."
    requires_system_checks: list[str] = []  # the tests make them; here they would delay every start

    def add_arguments(self, parser: CommandParser) -> None:
        options.add_arguments(parser, port=str(PORT))
        parser.add_argument("--workers", type=_positive, default=1, help="processes (default 1)")
        parser.add_argument(
            "--drain-seconds",
            type=_positive,
            default=DRAIN_SECONDS,
            help=f"how long a process that is to end may finish what it answers (default {DRAIN_SECONDS})",
        )

    def handle(self, *args: Any, **given: Any) -> None:
        chosen = options.Options(host=given["host"], port=given["port"])
        port.check_free(chosen)
        self._run(chosen, workers=given["workers"], drain_seconds=given["drain_seconds"])

    def _run(self, chosen: options.Options, *, workers: int, drain_seconds: int) -> None:
        sockets = [port.opened(chosen, backlog=BACKLOG) for _each in range(workers)]
        places = {each.fileno(): place for place, each in enumerate(sockets)}
        Fleet(
            lambda listener, ready, successor: processes.gateway_worker(
                port=listener,
                ready=ready,
                drain_seconds=drain_seconds,
                successor=successor,
                place=places[listener],
                workers=workers,
            ),
            sockets=sockets,
            env=processes.environment(str(settings.BASE_DIR)),
            patience=drain_seconds,
            when_ready=lambda: self._say_ready(chosen, workers),
        ).run()

    def _say_ready(self, chosen: options.Options, workers: int) -> None:
        crew = "1 process" if workers == 1 else f"{workers} processes"
        self.stdout.write(f"Gateway ready at {chosen.url}/serving-endpoints ({crew})")
        self.stdout.flush()


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number from 1.")
