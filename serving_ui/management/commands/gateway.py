"""`manage.py gateway`: the data plane alone, in as many processes as wanted, on one port.

It opens the sockets and runs a fleet of serving_ui/server/gateway_worker.py on them.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from serving_ui.processes import programs
from serving_ui.processes.fleet import Fleet
from serving_ui.processes.programs import DRAIN_SECONDS
from serving_ui.server import address, ports
from serving_ui.server.address import ListenAddress

PORT = 8081  # beside the server's


class Command(BaseCommand):
    help = "Answer queries, and nothing else. SIGTERM lets what runs finish; SIGHUP replaces the workers one by one."
    requires_system_checks: list[str] = []  # the tests run them; here they would delay every start

    def add_arguments(self, parser: CommandParser) -> None:
        address.add_arguments(parser, port=str(PORT))
        parser.add_argument("--workers", type=_positive, default=1, help="processes (default 1)")
        parser.add_argument(
            "--drain-seconds",
            type=_positive,
            default=DRAIN_SECONDS,
            help=f"how long a process that is to end may finish what it answers (default {DRAIN_SECONDS})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = ListenAddress(host=options["host"], port=options["port"])
        ports.check_free(chosen)
        self._run(chosen, workers=options["workers"], drain_seconds=options["drain_seconds"])

    def _run(self, chosen: ListenAddress, *, workers: int, drain_seconds: int) -> None:
        sockets = [ports.open_shared(chosen) for _ in range(workers)]
        places = {each.fileno(): place for place, each in enumerate(sockets)}
        Fleet(
            lambda listener, ready, is_successor: programs.gateway_worker(
                listener=listener,
                ready=ready,
                drain_seconds=drain_seconds,
                is_successor=is_successor,
                place=places[listener],
                workers=workers,
            ),
            sockets=sockets,
            env=programs.environment(str(settings.BASE_DIR)),
            stop_seconds=drain_seconds,
            when_ready=lambda: self._say_ready(chosen, workers),
        ).run()

    def _say_ready(self, chosen: ListenAddress, workers: int) -> None:
        processes = "1 process" if workers == 1 else f"{workers} processes"
        self.stdout.write(f"Gateway ready at {chosen.url}/serving-endpoints ({processes})")
        self.stdout.flush()


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number from 1.")
