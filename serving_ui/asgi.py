"""The server: gateway, sandbox and pages behind one port. The first segment of a path says whose request it is."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

# Static files are small and read whole; that they are not streamed is no news worth a line in the log.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
pages: Any = get_asgi_application()

from serving_ui.data_plane import QUERIES, DataPlane, Receive, Scope, Send, answer, refused
from serving_ui.lib.request import ClientDisconnected, RequestRefused, read_body
from serving_ui.sandbox.app import make_sandbox

PROGRAMS = (*QUERIES, "/api/", "/sandbox/", "/.well-known/", "/healthz", "/readyz", "/metrics")
"""Where programs ask, which are answered in JSON; everywhere else are people."""
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
_OF_A_PERSON = frozenset({b"host", b"cookie", b"accept-language", b"hx-request"})

data_plane = DataPlane()
sandbox = make_sandbox(body=settings.QUERY_BODY)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hands each request to its floor."""
    if scope["type"] == "lifespan":
        await data_plane.lifespan(receive, send)
        return
    path: str = scope["path"]
    if "refusal" in scope:
        await _refuse(scope, scope["refusal"], send)
        return
    try:
        answering = data_plane(scope, receive, send)
        if answering is not None:
            await answering
        elif path.startswith("/sandbox/v1/"):
            await sandbox(scope, receive, send)
        elif path == "/.well-known/databricks-config":
            await answer(
                send, 200, {}
            )  # every client of the original asks; an empty answer means: tokens only
        else:
            await pages(*await _read(scope, receive), send)
    except ClientDisconnected:
        return
    except RequestRefused as refusal:
        await _refuse(scope, refusal, send)


async def _refuse(scope: Scope, refusal: RequestRefused, send: Send) -> None:
    if scope["path"].startswith(PROGRAMS):
        await answer(send, 400, refused(refusal))
    else:
        await pages(_about(scope, refusal), _once(b"", _nothing), send)


async def _read(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request for Django with its body whole and decoded: Django keeps what it is given before anybody looks at it."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0":
        return scope, receive
    body = await read_body(scope=scope, headers=headers, receive=receive, limit=settings.CONTROL_BODY)
    kept = [each for each in scope["headers"] if each[0] not in _OF_A_BODY]
    return {**scope, "headers": [*kept, (b"content-length", b"%d" % len(body))]}, _once(body, receive)


def _about(scope: Scope, refusal: RequestRefused) -> Scope:
    """A request for the page that says why another one was refused: see `pages.errors.RefuseUnreadable`."""
    kept = [each for each in scope["headers"] if each[0] in _OF_A_PERSON]
    return {**scope, "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": kept,
            "refusal": refusal}  # fmt: skip


def _once(body: bytes, further: Receive) -> Receive:
    """Receives the body, and then what comes further."""
    left = [body]

    async def receive() -> Any:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await further()

    return receive


async def _nothing() -> Any:
    """Waits until it is cancelled. To ask the caller would bring the rest of what was refused."""
    await asyncio.Event().wait()
