"""`manage.py up`: everything on this machine, with one command, until Ctrl-C.

This module has the order of the steps; the steps are in serving_ui/management, serving_ui/processes and serving_ui/server.
"""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.http.request import validate_host

from serving_ui.bootstrap.errors import StartError
from serving_ui.local_model.files import Files
from serving_ui.local_model.weights import MAX_MODELS
from serving_ui.management import data_folder, prepare
from serving_ui.management.up_process import become_supervisor
from serving_ui.processes import ray_cluster
from serving_ui.processes.ray_cluster import RayCluster
from serving_ui.server import address, ports
from serving_ui.server.address import ListenAddress


class Command(BaseCommand):
    help = "Start the Serving page: pages, gateway and worker. Ctrl-C stops them all."
    requires_system_checks: list[str] = []  # the tests run them; here they would delay every start

    def add_arguments(self, parser: CommandParser) -> None:
        address.add_arguments(parser)
        parser.add_argument(
            "--ray", action="store_true", help="also start a Ray cluster, which runs models of your own"
        )

        parser.add_argument(
            "--local-model", action="store_true", help="also start a small language model, which needs no key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        listen_address = ListenAddress(host=options["host"], port=options["port"])
        signal.signal(
            signal.SIGTERM, signal.default_int_handler
        )  # until the supervisor installs its own handler
        try:
            self._run(listen_address, with_ray=options["ray"], wants_model=options["local_model"])
        except KeyboardInterrupt:
            return

    def _run(self, listen_address: ListenAddress, *, with_ray: bool, wants_model: bool) -> None:
        """Prepare the data folder, then become the supervisor of all processes."""
        folder = str(settings.DATA)
        lock = data_folder.claim(folder)
        ports.check_free(listen_address)
        ray = _prepare_ray() if with_ray else None
        local_model = Files(settings.DATA)
        if wants_model and not local_model.wish():
            local_model.want()  # until an admin stops it on the page
        prepare.prepare_all()
        become_supervisor(
            listen_address,
            root=str(settings.BASE_DIR),
            data_folder=folder,
            lock=lock,
            ray=ray,
            model_ports=local_model.reserve_ports(MAX_MODELS),
            sockets=ports.open_all(listen_address),
            ready_text=_ready_text(listen_address),
        )


def _prepare_ray() -> RayCluster:
    if settings.RAY_ADDRESS:
        raise StartError(
            "SERVING_UI_RAY_ADDRESS names a Ray cluster. Leave out --ray, which starts another, or the setting."
        )
    return ray_cluster.prepare(str(settings.BASE_DIR), str(settings.DATA))


def _ready_text(listen_address: ListenAddress) -> str:
    text = f"Serving page ready at {listen_address.url}/"
    if path := prepare.welcome_path():
        link = _public_url(listen_address) + path
        text += f"\nNobody has signed in yet. Open this link once and press Sign in: {link}"
    return text


def _public_url(listen_address: ListenAddress) -> str:
    """A URL whose host is in ALLOWED_HOSTS."""
    allowed_host = settings.ALLOWED_HOSTS[0].removeprefix(".")
    is_allowed = validate_host(listen_address.url_host, settings.ALLOWED_HOSTS)
    return settings.PUBLIC_URL or (
        listen_address.url if is_allowed else f"http://{allowed_host}:{listen_address.port}"
    )
