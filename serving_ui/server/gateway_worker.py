"""One worker process of `manage.py gateway`: the gateway alone, on a socket that the parent has opened."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable
from typing import Any

from serving_ui.lib.env import EnvError

POLL_SECONDS = 0.02


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument(
        "--ready", type=int, required=True, help="file descriptor to write to once it is ready"
    )
    parser.add_argument("--successor", action="store_true", help="let connections wait until it can serve")
    # Not renamed: after an upgrade a parent of the version before starts this module on SIGHUP.
    parser.add_argument("--place", type=int, dest="rank", default=0, help="number of this worker, from 0")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--drain-seconds", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except EnvError as problem:
        sys.exit(str(problem))


def _run(options: argparse.Namespace) -> None:
    application = GatewayApplication(is_successor=options.successor)
    from serving_ui.server.draining import KEEP_ALIVE_SECONDS, DrainingServer, exit_on_sigterm

    exit_on_sigterm()
    # Used until the number of processes is read from the database. Without it and without Redis each would admit a whole limit.
    application.gateway_service.holder.rank_and_count = (options.rank, options.workers)
    server = DrainingServer(
        application,
        application.gateway_service,
        ready=options.ready,
        drain_seconds=options.drain_seconds,
        idle_seconds=KEEP_ALIVE_SECONDS + 1,
    )
    server.run(sockets=[socket.socket(fileno=options.listen)])


class GatewayApplication:
    """The gateway as an ASGI application; other paths are answered with 404."""

    def __init__(self, *, is_successor: bool) -> None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")
        import django

        django.setup()
        from serving_ui.gateway_service import GatewayService, answer, refused
        from serving_ui.server.draining import with_connection_close

        self.gateway_service = GatewayService()
        self._answer, self._refused = answer, refused
        self._with_connection_close = with_connection_close
        self._is_successor = is_successor

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.gateway_service.lifespan(receive, self._delayed_startup(send))
        if self.gateway_service.is_draining:
            send = self._with_connection_close(send)
        if "refusal" in scope:
            return self._answer(send, 400, self._refused(scope["refusal"]))
        answering: Awaitable[None] | None = self.gateway_service(scope, receive, send)
        if answering is not None:
            return answering
        message = "This address is that of a gateway only, which answers queries under /serving-endpoints. Pages and API have another address."
        return self._answer(send, 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": message})

    def _delayed_startup(self, send: Any) -> Any:
        """A successor accepts no connection before it can serve. The first workers accept at once and answer 503 until then."""

        async def send_when_ready(message: dict[str, Any]) -> None:
            while self._is_successor and not (
                self.gateway_service.is_ready or self.gateway_service.is_draining
            ):
                await asyncio.sleep(POLL_SECONDS)
            await send(message)

        return send_when_ready


if __name__ == "__main__":
    main(sys.argv[1:])
