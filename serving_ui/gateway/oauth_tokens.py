"""OAuth 2 access tokens for providers: the request to a token server and what its reply means. Pure.

Client credentials (Microsoft Entra) or a service account's signed assertion (Google). The gateway sends the request through its
own client and caches the token (token_cache.py); a credential check of the control plane sends it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any
from urllib.parse import urlencode

from serving_ui.catalogue.upstream import ClientCredentials, GoogleServiceAccount, UpstreamRequest
from serving_ui.gateway.errors import GatewayError, provider_message
from serving_ui.lib import json_text
from serving_ui.lib.retry_after import retry_after_seconds

MAX_REPLY_BYTES = 64 * 1024
_RETRYABLE_STATUSES = (408, 429)
_DEFAULT_SECONDS = 3600
_SECRET_FIELDS = ("client_secret", "assertion")

TokenAuth = ClientCredentials | GoogleServiceAccount
Form = dict[str, str]


def token_form(auth: TokenAuth) -> Form:
    """The form fields of the token request. For Google it signs, which takes milliseconds. Raises GatewayError."""
    if isinstance(auth, GoogleServiceAccount):
        return _google_form(auth)
    return {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.reveal().strip(),
        "scope": auth.scope,
    }


def token_request(auth: TokenAuth, form: Form) -> UpstreamRequest:
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return UpstreamRequest("POST", auth.token_url, headers, urlencode(form).encode(), auth)


def read_token(*, status: int, headers: Mapping[str, str], content: bytes, form: Form) -> tuple[str, float]:
    """(token, seconds that it is valid) of a token server's reply. Raises GatewayError in the server's words."""
    if status >= 500 or status in _RETRYABLE_STATUSES:
        after = min(max(1, ceil(retry_after_seconds(headers) or 2)), 60)
        raise GatewayError(
            503, f"The token server is not available ({status}). Try again.", retry_after=after
        )
    try:
        answer: Any = json_text.read(content) if status == 200 else None
        token, seconds = answer["access_token"], float(answer.get("expires_in", _DEFAULT_SECONDS))
        if isinstance(token, str) and token:
            return token, seconds
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    words = provider_message(content, secrets=[form[name] for name in _SECRET_FIELDS if name in form])
    raise GatewayError(
        400,
        f"The token server refused the endpoint's credentials ({status}). "
        f"The person who manages the endpoint must check them. It said: {words}",
    )


def with_bearer_token(request: UpstreamRequest, token: str) -> UpstreamRequest:
    """The request with the token, in place of the one that a request which is sent again already has."""
    headers = (header for header in request.headers if header[0] != "authorization")
    return replace(request, headers=(*headers, ("authorization", f"Bearer {token}")))


def _google_form(auth: GoogleServiceAccount) -> Form:
    from serving_ui.gateway import google_assertion  # noqa: PLC0415 - 11 MB that only Vertex AI endpoints need

    try:
        return google_assertion.form(auth)
    except google_assertion.KeyUnusable:
        raise GatewayError(
            400,
            "The endpoint's private key is not the JSON file of a service account. "
            "The person who manages the endpoint must store it again.",
        ) from None
