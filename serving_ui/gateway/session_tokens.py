"""Short-lived bearer tokens with which the query page asks the gateway for a signed-in person who has no access token.

A session token is a user id and an expiry time, signed with HMAC-SHA256. It carries no permissions: what the user may query is
read from the snapshot when the token is used.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256

PREFIX = "sup_"


def make_session_token(*, key: bytes, user_id: str, expires: float) -> str:
    """A session token for `user_id` that is valid until the Unix time `expires`."""
    if not key:
        raise ValueError("A session token cannot be signed without a key.")
    content = f"{int(expires)}:{user_id}".encode()
    return f"{PREFIX}{_encode(content)}.{_encode(_signature(key, content))}"


def read_session_token(*, key: bytes, value: str, now: float) -> str | None:
    """The user id; None when the token is malformed, expired or not signed with `key`."""
    content_text, dot, signature_text = value.removeprefix(PREFIX).partition(".")
    if not key or not dot or not value.startswith(PREFIX):
        return None
    try:
        content, signature = _decode(content_text), _decode(signature_text)
    except (Base64Error, ValueError):
        return None
    if not hmac.compare_digest(signature, _signature(key, content)):
        return None
    expires, _, user_id = content.decode().partition(":")
    return user_id if float(expires) > now else None


def _signature(key: bytes, content: bytes) -> bytes:
    # Domain separation: the key also signs other things. Processes of other versions check the same prefix.
    return hmac.new(key, b"gateway-pass:" + content, sha256).digest()


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
