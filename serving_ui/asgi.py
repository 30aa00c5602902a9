"""The ASGI application of the server: gateway, sandbox, API and pages on one port, chosen by the path."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

# Static files are small; Django warns that whitenoise's iterators are read at once.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
pages: Any = get_asgi_application()

from serving_ui.gateway.paths import PREFIXES
from serving_ui.gateway_service import GatewayService, Receive, Scope, Send, answer, refused
from serving_ui.lib.request import ClientDisconnected, RequestRefused, read_body
from serving_ui.sandbox.app import make_sandbox

JSON_PATHS = (*PREFIXES, "/api/", "/sandbox/", "/.well-known/", "/healthz", "/readyz", "/metrics")
"""Paths with JSON answers; all others are pages."""
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
_PAGE_HEADERS = frozenset({b"host", b"cookie", b"accept-language", b"hx-request"})

gateway_service = GatewayService()
sandbox = make_sandbox(body=settings.QUERY_BODY)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatch a request by its path."""
    if scope["type"] == "lifespan":
        await gateway_service.lifespan(receive, send)
        return
    path: str = scope["path"]
    if "refusal" in scope:
        await _answer_refusal(scope, scope["refusal"], send)
        return
    try:
        answering = gateway_service(scope, receive, send)
        if answering is not None:
            await answering
        elif path.startswith("/sandbox/v1/"):
            await sandbox(scope, receive, send)
        elif path == "/.well-known/databricks-config":
            # Databricks clients ask for it first; an empty object means that only tokens are supported.
            await answer(send, 200, {})
        else:
            await pages(*await _read_whole(scope, receive), send)
    except ClientDisconnected:
        return
    except RequestRefused as refusal:
        await _answer_refusal(scope, refusal, send)


async def _answer_refusal(scope: Scope, refusal: RequestRefused, send: Send) -> None:
    if scope["path"].startswith(JSON_PATHS):
        await answer(send, 400, refused(refusal))
    else:
        await pages(_error_page(scope, refusal), _replay(b"", _wait_for_ever), send)


async def _read_whole(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request with its body complete and decoded, within CONTROL_BODY: Django would store the body before any check."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0":
        return scope, receive
    body = await read_body(scope=scope, headers=headers, receive=receive, limit=settings.CONTROL_BODY)
    other_headers = [each for each in scope["headers"] if each[0] not in _BODY_HEADERS]
    return {**scope, "headers": [*other_headers, (b"content-length", b"%d" % len(body))]}, _replay(
        body, receive
    )


def _error_page(scope: Scope, refusal: RequestRefused) -> Scope:
    """A request for the error page of a refused request: see `pages.errors.RefuseUnreadable`."""
    headers = [each for each in scope["headers"] if each[0] in _PAGE_HEADERS]
    return {**scope, "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
            "refusal": refusal}  # fmt: skip


def _replay(body: bytes, receive_more: Receive) -> Receive:
    """A `receive` that returns the body first, then whatever `receive_more` returns."""
    left = [body]

    async def receive() -> Any:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive_more()

    return receive


async def _wait_for_ever() -> Any:
    """A `receive` that never returns: the client's own would return the rest of the refused body."""
    await asyncio.Event().wait()
