"""`manage.py gateway`: the gateway alone, in one or more processes, on one port.

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
    help = (
        "Run the gateway alone. SIGTERM lets running queries finish; SIGHUP replaces the workers one by one."
    )
    requires_system_checks: list[str] = []  # the tests run them; here they would delay every start

    def add_arguments(self, parser: CommandParser) -> None:
        address.add_arguments(parser, port=str(PORT))
        parser.add_argument("--workers", type=_positive, default=1, help="processes (default 1)")
        parser.add_argument(
            "--drain-seconds",
            type=_positive,
            default=DRAIN_SECONDS,
            help=f"seconds that a process has to finish running queries before it ends (default {DRAIN_SECONDS})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        listen_address = ListenAddress(host=options["host"], port=options["port"])
        ports.check_free(listen_address)
        self._run(listen_address, workers=options["workers"], drain_seconds=options["drain_seconds"])

    def _run(self, listen_address: ListenAddress, *, workers: int, drain_seconds: int) -> None:
        sockets = [ports.open_shared(listen_address) for _ in range(workers)]
        ranks = {each.fileno(): rank for rank, each in enumerate(sockets)}
        Fleet(
            lambda listener, ready, is_successor: programs.gateway_worker(
                listener=listener,
                ready=ready,
                drain_seconds=drain_seconds,
                is_successor=is_successor,
                rank=ranks[listener],
                workers=workers,
            ),
            sockets=sockets,
            env=programs.environment(str(settings.BASE_DIR)),
            stop_seconds=drain_seconds,
            when_ready=lambda: self._print_ready(listen_address, workers),
        ).run()

    def _print_ready(self, listen_address: ListenAddress, workers: int) -> None:
        processes = "1 process" if workers == 1 else f"{workers} processes"
        self.stdout.write(f"Gateway ready at {listen_address.url}/serving-endpoints ({processes})")
        self.stdout.flush()


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a positive whole number.")
