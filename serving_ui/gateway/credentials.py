"""Bearer tokens that are asked for: with client credentials (Microsoft Entra) or a service account's key (Google).

Fetched through the gateway's own client, so that the outbound policy holds; cached, renewed early. One fetch per key at a time,
whose outcome all who wait for it share; while a token is still valid nobody waits for its renewal. Tokens live in memory only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from pydantic_core import from_json

from serving_ui.catalogue.wire import ClientCredentials, GoogleServiceAccount, UpstreamRequest
from serving_ui.gateway.errors import GatewayError, vendor_words
from serving_ui.gateway.upstream import Reply, UpstreamClient
from serving_ui.lib.egress import EgressPolicy

_EARLY = 300.0
_TIMEOUT = 20.0
_MOST_BYTES = 64 * 1024
_MOST_KEYS = 1024

TokenAuth = ClientCredentials | GoogleServiceAccount


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
        self._fetching: dict[bytes, asyncio.Task[str]] = {}

    async def token(self, auth: TokenAuth, *, policy: EgressPolicy) -> str:
        """A token that is valid now. Raises GatewayError in the token server's words, UpstreamFault or EgressRefused."""
        key = _key(auth)
        held = self._tokens.get(key)
        if held is not None and held.renew_at > monotonic():
            return held.value
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = asyncio.get_running_loop().create_task(self._renewed(key, auth, policy))
            self._fetching[key] = fetching
            fetching.add_done_callback(partial(self._fetched, key))
        if held is not None and held.ends_at > monotonic():
            return held.value
        # One caller's leaving must not end the fetch that the others wait for.
        return await asyncio.shield(fetching)

    def forget(self, auth: TokenAuth) -> None:
        """The provider refused the token: the next query asks for a new one."""
        self._tokens.pop(_key(auth), None)

    def _fetched(self, key: bytes, fetching: asyncio.Task[str]) -> None:
        self._fetching.pop(key, None)
        if not fetching.cancelled():
            fetching.exception()  # seen, even when everybody who waited for it has left

    async def _renewed(self, key: bytes, auth: TokenAuth, policy: EgressPolicy) -> str:
        async with asyncio.timeout(_TIMEOUT):
            form = await _form(auth)
            reply = await self._client.send(_request(auth, form), policy=policy)
            try:
                content = await reply.opening(most=_MOST_BYTES)
            finally:
                reply.done()
        value, seconds = _granted(reply, content, form)
        if len(self._tokens) >= _MOST_KEYS:
            self._tokens.clear()
        now = monotonic()
        self._tokens[key] = _Token(value, now + max(seconds - _EARLY, seconds / 2), now + seconds)
        return value


def _key(auth: TokenAuth) -> bytes:
    parts = (auth.token_url, auth.scope, *_identity(auth))
    return sha256("\0".join(parts).encode()).digest()


def _identity(auth: TokenAuth) -> tuple[str, ...]:
    if isinstance(auth, GoogleServiceAccount):
        return ("google", auth.key_json.reveal())
    return ("client", auth.client_id, auth.client_secret.reveal())


async def _form(auth: TokenAuth) -> dict[str, str]:
    if isinstance(auth, GoogleServiceAccount):
        return await asyncio.to_thread(_signed, auth)  # reading the key and signing take milliseconds
    return {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.reveal().strip(),
        "scope": auth.scope,
    }


def _request(auth: TokenAuth, form: dict[str, str]) -> UpstreamRequest:
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return UpstreamRequest("POST", auth.token_url, headers, urlencode(form).encode(), auth)


def _signed(auth: GoogleServiceAccount) -> dict[str, str]:
    from serving_ui.gateway import assertions  # noqa: PLC0415 - 11 MB that only Vertex AI endpoints need

    try:
        return assertions.form(auth)
    except assertions.KeyUnusable:
        raise GatewayError(
            400,
            "The endpoint's private key is not the JSON file of a service account. "
            "The person who manages the endpoint must store it again.",
        ) from None


def _granted(reply: Reply, content: bytes, form: dict[str, str]) -> tuple[str, float]:
    secrets = [form[name] for name in ("client_secret", "assertion") if name in form]
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
            f"The token server refused the endpoint's credentials ({reply.status}). "
            f"The person who manages the endpoint must check them. It said: {words}",
        ) from None
