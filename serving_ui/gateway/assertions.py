"""What a Google service account signs to be given a token (RFC 7523), made with google-auth.

Imported when the first endpoint on Vertex AI is asked, because google.auth costs 11 MB and 40 ms: see credentials.py.
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
"""Whom the claim is for, wherever it is sent: a proxy before the token server is not its audience."""
_SECONDS = 3600
_rsa: Any = crypt.RSASigner  # google-auth does not annotate these two
_encode: Any = jwt.encode


class KeyUnusable(ValueError):
    """The stored key is not the JSON file of a service account."""


def form(auth: GoogleServiceAccount) -> dict[str, str]:
    """The fields of the request for a token. Raises KeyUnusable."""
    issuer, signer = _account(auth.key_json.reveal())
    now = int(time())
    claim = {"iss": issuer, "scope": auth.scope, "aud": AUDIENCE, "iat": now, "exp": now + _SECONDS}
    return {"grant_type": GRANT, "assertion": _encode(signer, claim).decode()}


@lru_cache(maxsize=64)
def _account(key_json: str) -> tuple[str, Any]:
    """Who signs, and the signer. Kept, because reading a key holds up the whole process for 30 ms, and signing for half of one."""
    try:
        key = json.loads(key_json)
        return str(key["client_email"]), _rsa.from_service_account_info(key)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise KeyUnusable from problem
