"""Bearer tokens that are asked for, with client credentials (Microsoft Entra) or a service account's key (Google). Pure.

What is asked and what the answer means. The gateway asks through its own client and keeps what it is given; a check asks once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any
from urllib.parse import urlencode

from serving_ui.catalogue.upstream import ClientCredentials, GoogleServiceAccount, UpstreamRequest
from serving_ui.gateway.errors import GatewayError, vendor_words
from serving_ui.lib import json_text
from serving_ui.lib.retry_after import retry_after_seconds

MOST_BYTES = 64 * 1024
"""Of an answer; what is longer is no token."""
_BUSY = (408, 429)
_USUAL_SECONDS = 3600
_SECRET_FIELDS = ("client_secret", "assertion")

TokenAuth = ClientCredentials | GoogleServiceAccount
Form = dict[str, str]


def form(auth: TokenAuth) -> Form:
    """The fields of the question. For Google it reads a key and signs, which takes milliseconds. Raises GatewayError."""
    if isinstance(auth, GoogleServiceAccount):
        return _signed(auth)
    return {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.reveal().strip(),
        "scope": auth.scope,
    }


def asking(auth: TokenAuth, fields: Form) -> UpstreamRequest:
    """The question itself."""
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return UpstreamRequest("POST", auth.token_url, headers, urlencode(fields).encode(), auth)


def granted(*, status: int, headers: Mapping[str, str], content: bytes, fields: Form) -> tuple[str, float]:
    """The token and for how many seconds it is valid. Raises GatewayError in the server's words."""
    if status >= 500 or status in _BUSY:
        after = min(max(1, ceil(retry_after_seconds(headers) or 2)), 60)
        raise GatewayError(
            503, f"The token server is not available ({status}). Try again.", retry_after=after
        )
    try:
        answer: Any = json_text.read(content) if status == 200 else None
        token, seconds = answer["access_token"], float(answer.get("expires_in", _USUAL_SECONDS))
        if isinstance(token, str) and token:
            return token, seconds
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    words = vendor_words(content, secrets=[fields[name] for name in _SECRET_FIELDS if name in fields])
    raise GatewayError(
        400,
        f"The token server refused the endpoint's credentials ({status}). "
        f"The person who manages the endpoint must check them. It said: {words}",
    )


def bearing(request: UpstreamRequest, token: str) -> UpstreamRequest:
    """The request with the token; one that is sent again has one already."""
    headers = (header for header in request.headers if header[0] != "authorization")
    return replace(request, headers=(*headers, ("authorization", f"Bearer {token}")))


def _signed(auth: GoogleServiceAccount) -> Form:
    from serving_ui.gateway import assertions  # noqa: PLC0415 - 11 MB that only Vertex AI endpoints need

    try:
        return assertions.form(auth)
    except assertions.KeyUnusable:
        raise GatewayError(
            400,
            "The endpoint's private key is not the JSON file of a service account. "
            "The person who manages the endpoint must store it again.",
        ) from None
