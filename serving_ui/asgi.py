"""The server: gateway, sandbox and pages behind one port. The first segment of a path says whose request it is."""

from __future__ import annotations

import os
import warnings
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.core.asgi import get_asgi_application

# Static files are small and read whole; that they are not streamed is no news worth a line in the log.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
pages: Any = get_asgi_application()

from serving_ui.data_plane import DataPlane, Receive, Scope, Send, answer
from serving_ui.sandbox.app import sandbox_app

data_plane = DataPlane()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hands each request to its floor."""
    if scope["type"] == "lifespan":
        await data_plane.lifespan(receive, send)
        return
    path: str = scope["path"]
    answering = data_plane(scope, receive, send)
    if answering is not None:
        await answering
    elif path.startswith("/sandbox/v1/"):
        await sandbox_app(scope, receive, send)
    elif path == "/.well-known/databricks-config":
        await answer(send, 200, {})  # every client of the original asks; an empty answer means: tokens only
    else:
        await pages(scope, receive, send)
