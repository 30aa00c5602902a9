"""The providers' access tokens that this process holds, in memory only.

Fetched through the gateway's own client, so that the outbound policy applies, and renewed before they expire. There is one fetch
per key at a time, whose result all waiting queries share; while a token is valid no query waits for its renewal.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from time import monotonic

from serving_ui.catalogue.upstream import GoogleServiceAccount
from serving_ui.gateway import oauth_tokens
from serving_ui.gateway.oauth_tokens import TokenAuth
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy

_RENEW_EARLY_SECONDS = 300.0
_FETCH_TIMEOUT_SECONDS = 20.0
_MAX_TOKENS_CACHED = 1024


@dataclass(frozen=True, slots=True)
class _Token:
    """`renew_at` and `expires_at` are monotonic times in seconds."""

    value: str
    renew_at: float
    expires_at: float


class TokenCache:
    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._tokens: dict[bytes, _Token] = {}
        self._fetches: dict[bytes, asyncio.Task[str]] = {}

    async def token(self, auth: TokenAuth, *, policy: EgressPolicy) -> str:
        """A token that is valid now. Raises GatewayError in the token server's words, UpstreamFault or EgressRefused."""
        key = _key(auth)
        cached = self._tokens.get(key)
        if cached is not None and cached.renew_at > monotonic():
            return cached.value
        fetch = self._fetches.get(key)
        if fetch is None:
            fetch = asyncio.get_running_loop().create_task(self._fetch(key, auth, policy))
            self._fetches[key] = fetch
            fetch.add_done_callback(partial(self._on_fetched, key))
        if cached is not None and cached.expires_at > monotonic():
            return cached.value
        try:
            # Shielded: when one caller disconnects, the others go on waiting for the same fetch.
            return await asyncio.shield(fetch)
        finally:
            del (
                fetch
            )  # its exception refers to this frame: without this both stay until the garbage collector runs

    def forget(self, auth: TokenAuth) -> None:
        """Fetch a new token for the next query, because the provider refused this one."""
        self._tokens.pop(_key(auth), None)

    async def _fetch(self, key: bytes, auth: TokenAuth, policy: EgressPolicy) -> str:
        async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
            is_slow = isinstance(auth, GoogleServiceAccount)
            form = (
                await asyncio.to_thread(oauth_tokens.token_form, auth)
                if is_slow
                else oauth_tokens.token_form(auth)
            )
            reply = await self._client.send(oauth_tokens.token_request(auth, form), policy=policy)
            try:
                content = await reply.read_start(max_bytes=oauth_tokens.MAX_REPLY_BYTES)
            finally:
                reply.release()
        value, seconds = oauth_tokens.read_token(
            status=reply.status, headers=reply.headers, content=content, form=form
        )
        if len(self._tokens) >= _MAX_TOKENS_CACHED:
            self._tokens.clear()
        now = monotonic()
        renew_at = now + max(seconds - _RENEW_EARLY_SECONDS, seconds / 2)
        self._tokens[key] = _Token(value, renew_at, now + seconds)
        return value

    def _on_fetched(self, key: bytes, fetch: asyncio.Task[str]) -> None:
        self._fetches.pop(key, None)
        if not fetch.cancelled():
            fetch.exception()  # retrieved, or asyncio logs an error when every waiting caller has disconnected


def _key(auth: TokenAuth) -> bytes:
    """A digest, so that no secret is a dictionary key."""
    parts = (auth.token_url, auth.scope, *_identity(auth))
    return sha256("\0".join(parts).encode()).digest()


def _identity(auth: TokenAuth) -> tuple[str, ...]:
    if isinstance(auth, GoogleServiceAccount):
        return ("google", auth.key_json.reveal())
    return ("client", auth.client_id, auth.client_secret.reveal())
