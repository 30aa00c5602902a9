"""Sends a request of the query page to the gateway over HTTP, as every other client does, and returns the reply.

A session token that is valid for a minute identifies the person; the gateway checks the rights.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.http import HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext as _

from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.gateway.session_tokens import make_session_token
from serving_ui.gateway.upstream import Reply, UpstreamClient
from serving_ui.lib.egress import EgressPolicy, EgressRefused

SESSION_TOKEN_SECONDS = 60
REPLY_TIMEOUT_SECONDS = 300
MAX_REPLY_BYTES = 4 * 1024 * 1024
# Any other type of a provider's reply is sent as text/plain, so that no browser runs it as a page of this origin.
SAFE_TYPES = ("application/json", "text/event-stream")
FAULTS = (UpstreamFault, EgressRefused, TimeoutError)


@dataclass(frozen=True)
class WholeReply:
    """A complete reply. `seconds` is the time from the request to its last byte."""

    status: int
    content_type: str
    text: str
    seconds: float


async def send(*, name: str, user_id: str, body: str) -> WholeReply:
    """Sends the request and reads the reply, up to MAX_REPLY_BYTES."""
    began = time.monotonic()
    client = UpstreamClient()
    try:
        reply = await _send(client, name, user_id, body)
        content = b""
        async with asyncio.timeout(REPLY_TIMEOUT_SECONDS), aclosing(_pieces(client, reply)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > MAX_REPLY_BYTES:
                    break
        text = content[:MAX_REPLY_BYTES].decode(errors="replace")
        return WholeReply(reply.status, _type(reply), text, time.monotonic() - began)
    except FAULTS:
        return WholeReply(502, "application/json", json.dumps(_unreachable()), time.monotonic() - began)


async def stream(*, name: str, user_id: str, body: str) -> HttpResponseBase:
    """Sends the request and streams the reply with its status."""
    client = UpstreamClient()
    try:
        reply = await _send(client, name, user_id, body)
    except FAULTS:
        return JsonResponse(_unreachable(), status=502)
    content_type = _type(reply) if _type(reply) in SAFE_TYPES else "text/plain"
    response = StreamingHttpResponse(_pieces(client, reply), status=reply.status, content_type=content_type)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _pieces(client: UpstreamClient, reply: Reply) -> AsyncGenerator[bytes, None]:
    # The server closes this generator when the browser disconnects; releasing the reply cancels the query at the gateway.
    try:
        while piece := await reply.read():
            yield piece
    finally:
        reply.release()
        client.stop()
        await asyncio.sleep(0)  # the event loop closes the socket in its next round


async def _send(client: UpstreamClient, name: str, user_id: str, body: str) -> Reply:
    token = make_session_token(
        key=settings.SESSION_TOKEN_KEY, user_id=user_id, expires=time.time() + SESSION_TOKEN_SECONDS
    )
    request = UpstreamRequest(
        method="POST",
        url=f"{settings.GATEWAY_URL}/serving-endpoints/{quote(name, safe='')}/invocations",
        headers=(("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")),
        body=body.encode(),
    )
    # The gateway may have a private address, so exactly its own address is listed.
    policy = EgressPolicy(listed=(urlsplit(settings.GATEWAY_URL).netloc,), loopback=True)
    async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
        return await client.send(request, policy=policy)


def _type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unreachable() -> dict[str, str]:
    sentence = _("The gateway did not answer. Wait a moment and send the request again.")
    return {"error_code": "TEMPORARILY_UNAVAILABLE", "message": sentence}
