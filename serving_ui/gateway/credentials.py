"""The gateway's bearer tokens of Microsoft Entra and Google.

Fetched through the gateway's own client, so that the outbound policy holds; cached, renewed early. One fetch per key at a time,
whose outcome all who wait for it share; while a token is still valid nobody waits for its renewal. Tokens live in memory only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from time import monotonic

from serving_ui.catalogue.upstream import GoogleServiceAccount
from serving_ui.gateway import tokens
from serving_ui.gateway.tokens import TokenAuth
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy

_EARLY = 300.0
_TIMEOUT = 20.0
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
        try:
            # One caller's leaving must not end the fetch that the others wait for.
            return await asyncio.shield(fetching)
        finally:
            del fetching  # its failure knows this frame, and both would stay until garbage is looked for

    def forget(self, auth: TokenAuth) -> None:
        """The provider refused the token: the next query asks for a new one."""
        self._tokens.pop(_key(auth), None)

    def _fetched(self, key: bytes, fetching: asyncio.Task[str]) -> None:
        self._fetching.pop(key, None)
        if not fetching.cancelled():
            fetching.exception()  # seen, even when everybody who waited for it has left

    async def _renewed(self, key: bytes, auth: TokenAuth, policy: EgressPolicy) -> str:
        async with asyncio.timeout(_TIMEOUT):
            is_slow = isinstance(auth, GoogleServiceAccount)
            form = await asyncio.to_thread(tokens.form, auth) if is_slow else tokens.form(auth)
            reply = await self._client.send(tokens.asking(auth, form), policy=policy)
            try:
                content = await reply.opening(most=tokens.MOST_BYTES)
            finally:
                reply.done()
        value, seconds = tokens.granted(
            status=reply.status, headers=reply.headers, content=content, fields=form
        )
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
