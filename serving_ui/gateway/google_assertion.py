"""The signed JWT with which a Google service account asks for an access token (RFC 7523), made with google-auth.

Imported when the first Vertex AI endpoint is queried, because google.auth takes 11 MB and 40 ms.
"""

from __future__ import annotations

import json
from functools import lru_cache
from time import time
from typing import Any

from google.auth import crypt, jwt

from serving_ui.catalogue.upstream import GoogleServiceAccount

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""Google checks this address even when the request goes to a proxy in front of its token server."""
_VALID_SECONDS = 3600
_rsa: Any = crypt.RSASigner  # google-auth does not annotate these two
_encode: Any = jwt.encode


class KeyUnusable(ValueError):
    """The stored key is not the JSON file of a service account."""


def form(auth: GoogleServiceAccount) -> dict[str, str]:
    """The form fields of the token request. Raises KeyUnusable."""
    issuer, signer = _account(auth.key_json.reveal())
    now = int(time())
    claim = {"iss": issuer, "scope": auth.scope, "aud": AUDIENCE, "iat": now, "exp": now + _VALID_SECONDS}
    return {"grant_type": GRANT, "assertion": _encode(signer, claim).decode()}


@lru_cache(maxsize=64)
def _account(key_json: str) -> tuple[str, Any]:
    """(issuer, signer). Cached, because parsing a key blocks the process for 30 ms, and signing with it for 0.5 ms."""
    try:
        key = json.loads(key_json)
        return str(key["client_email"]), _rsa.from_service_account_info(key)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise KeyUnusable from problem
