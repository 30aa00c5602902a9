"""Bearer tokens that are asked for with client credentials (Microsoft Entra): fetched, cached, renewed early.

One fetch per key at a time; while a token is still valid nobody waits for its renewal. Tokens live in memory only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from pydantic_core import from_json

from serving_ui.catalogue.wire import ClientCredentials, UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.gateway.errors import GatewayError, vendor_words
from serving_ui.gateway.upstream import Reply, UpstreamClient
from serving_ui.lib.egress import EgressPolicy, EgressRefused

_EARLY = 300.0
_TIMEOUT = 20.0
_MOST_BYTES = 64 * 1024
_MOST_KEYS = 1024


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: float
    ends_at: float


class Credentials:
    """The tokens of this process."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._tokens: dict[bytes, _Token] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}

    async def token(self, auth: ClientCredentials, *, policy: EgressPolicy) -> str:
        """A token that is valid now. Raises GatewayError in the token server's words, UpstreamFault or EgressRefused."""
        key = _key(auth)
        held = self._tokens.get(key)
        if held is not None and held.renew_at > monotonic():
            return held.value
        lock = self._locks.setdefault(key, asyncio.Lock())
        if held is not None and held.ends_at > monotonic() and lock.locked():
            return held.value
        async with lock:
            held = self._tokens.get(key)
            if held is not None and held.renew_at > monotonic():
                return held.value
            try:
                return await self._renewed(key, auth, policy)
            except (GatewayError, UpstreamFault, EgressRefused, TimeoutError):
                if held is not None and held.ends_at > monotonic():
                    return held.value
                raise

    def forget(self, auth: ClientCredentials) -> None:
        """The provider refused the token: the next query asks for a new one."""
        self._tokens.pop(_key(auth), None)

    async def _renewed(self, key: bytes, auth: ClientCredentials, policy: EgressPolicy) -> str:
        async with asyncio.timeout(_TIMEOUT):
            reply = await self._client.send(_request(auth), policy=policy)
            try:
                content = await reply.opening(most=_MOST_BYTES)
            finally:
                reply.done()
        value, seconds = _granted(reply, content, auth)
        if len(self._tokens) >= _MOST_KEYS:
            self._tokens.clear()
            self._locks = {key: self._locks[key]}
        now = monotonic()
        self._tokens[key] = _Token(value, now + max(seconds - _EARLY, seconds / 2), now + seconds)
        return value


def _key(auth: ClientCredentials) -> bytes:
    parts = (auth.token_url, auth.client_id, auth.scope, auth.client_secret.reveal())
    return sha256("\0".join(parts).encode()).digest()


def _request(auth: ClientCredentials) -> UpstreamRequest:
    form = {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.reveal().strip(),
        "scope": auth.scope,
    }
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return UpstreamRequest("POST", auth.token_url, headers, urlencode(form).encode())


def _granted(reply: Reply, content: bytes, auth: ClientCredentials) -> tuple[str, float]:
    secrets = [auth.client_secret.reveal(), auth.client_secret.reveal().strip()]
    if reply.status >= 500:
        raise GatewayError(
            503, f"The token server is not available ({reply.status}). Try again.", retry_after=2
        )
    try:
        answer: Any = from_json(content) if reply.status == 200 else None
        return str(answer["access_token"]), float(answer.get("expires_in", 3600))
    except (ValueError, TypeError, KeyError, AttributeError):
        words = vendor_words(content, secrets=secrets)
        raise GatewayError(
            400,
            f"The token server refused the endpoint's client credentials ({reply.status}). "
            f"The person who manages the endpoint must check them. It said: {words}",
        ) from None
