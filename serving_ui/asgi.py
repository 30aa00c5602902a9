"""The server: gateway, sandbox and pages behind one port. The first segment of a path says whose request it is.

`/healthz` is alive, `/readyz` is able to serve; both answer without Django.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.core.asgi import get_asgi_application

# Static files are small and read whole; that they are not streamed is no news worth a line in the log.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
pages: Any = get_asgi_application()

from serving_ui.endpoints.follower import Follower
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.sandbox.app import sandbox_app

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

holder = SnapshotHolder()
gateway = Gateway(holder)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hands each request to its floor."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path: str = scope["path"]
    if path.startswith(("/serving-endpoints/", "/endpoints/")):
        await gateway(scope, receive, send)
    elif path.startswith("/sandbox/v1/"):
        await sandbox_app(scope, receive, send)
    elif path == "/healthz":
        await _answer(send, 200, {"status": "alive"})
    elif path == "/readyz":
        ready = holder.current.revision > 0
        await _answer(
            send, 200 if ready else 503, {"status": "ready" if ready else "waiting for the first snapshot"}
        )
    elif path == "/.well-known/databricks-config":
        await _answer(send, 200, {})  # every client of the original asks; an empty answer means: tokens only
    else:
        await pages(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    follower = Follower(holder)
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await gateway.start()
            follower.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            follower.stop()
            await gateway.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _answer(send: Send, status: int, body: dict[str, str]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
