"""`manage.py up`: everything on this machine, with one command, until Ctrl-C.

Only the order of things is decided here; each of them is in serving_ui/start.
"""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.http.request import validate_host

from serving_ui.management import data_folder, prepare
from serving_ui.start import options, port, processes
from serving_ui.start.server import BACKLOG
from serving_ui.start.supervisor import Supervisor


class Command(BaseCommand):
    help = "Start the Serving page: pages, gateway and worker. Ctrl-C stops it all."
    requires_system_checks: list[str] = []  # the tests make them; here they would delay every start

    def add_arguments(self, parser: CommandParser) -> None:
        options.add_arguments(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        chosen = options.Options(host=given["host"], port=given["port"])
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the supervisor listens
        try:
            self._run(chosen)
        except KeyboardInterrupt:
            return

    def _run(self, chosen: options.Options) -> None:
        """From a data folder of whatever age to a running product."""
        folder = str(settings.DATA)
        data_folder.claim(folder)
        port.check_free(chosen)
        prepare.everything()
        sockets = port.opened_everywhere(chosen, backlog=BACKLOG)
        Supervisor(
            {
                "server": processes.server(listeners=tuple(each.fileno() for each in sockets)),
                "worker": processes.worker(),
                "beat": processes.beat(data_folder=folder),
            },
            env=processes.environment(str(settings.BASE_DIR)),
            sockets=sockets,
            is_ready=lambda: port.is_ready(chosen),
            when_ready=lambda: self._welcome(chosen),
        ).run()

    def _welcome(self, chosen: options.Options) -> None:
        self.stdout.write(f"Serving page ready at {chosen.url}/")
        path = prepare.welcome_path()
        if path:
            link = _public_url(chosen) + path
            self.stdout.write(f"Nobody has signed in yet. Open this link once and press Sign in: {link}")
        self.stdout.flush()


def _public_url(chosen: options.Options) -> str:
    """Where a browser gets an answer: not under a name that a request may not have."""
    named = settings.ALLOWED_HOSTS[0].removeprefix(".")
    is_allowed = validate_host(chosen.url_host, settings.ALLOWED_HOSTS)
    return settings.PUBLIC_URL or (chosen.url if is_allowed else f"http://{named}:{chosen.port}")
