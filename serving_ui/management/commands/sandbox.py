"""`manage.py sandbox --port N [--control]`: runs the sandbox alone, for tests and for trying things out."""

from __future__ import annotations

from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandParser

from serving_ui.sandbox.app import make_sandbox
from serving_ui.sandbox.control import Control
from serving_ui.server.protocol import Protocol


class Command(BaseCommand):
    help = "Runs the built-in model server with canned replies alone."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, required=True, help="port to listen on")
        parser.add_argument(
            "--control",
            action="store_true",
            help="add /sandbox/control, which injects faults",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        app = make_sandbox(control=Control() if options["control"] else None)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=Protocol,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        self.stdout.write(f"Sandbox at http://{host}:{port}/sandbox/v1 (Ctrl-C stops it)")
        self.stdout.flush()
        uvicorn.Server(config).run()
