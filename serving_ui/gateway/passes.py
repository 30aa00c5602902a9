"""Short-lived passes: a person on the query page asks the gateway without an access token.

A pass names a user id and the moment when it ends, signed with HMAC-SHA256. It carries no right of its own: what the user
may query is read from the snapshot when it is used.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256

PREFIX = "sup_"


def make_pass(*, key: bytes, user_id: str, expires: float) -> str:
    """A bearer value for `user_id` that ends at the Unix time `expires`."""
    if not key:
        raise ValueError("A pass cannot be signed without a key.")
    content = f"{int(expires)}:{user_id}".encode()
    return f"{PREFIX}{_text(content)}.{_text(_signature(key, content))}"


def read_pass(*, key: bytes, value: str, now: float) -> str | None:
    """The user id of a pass that is whole and has not ended, else None."""
    content_text, dot, signature_text = value.removeprefix(PREFIX).partition(".")
    if not key or not dot or not value.startswith(PREFIX):
        return None
    try:
        content, signature = _bytes(content_text), _bytes(signature_text)
    except (Base64Error, ValueError):
        return None
    if not hmac.compare_digest(signature, _signature(key, content)):
        return None
    expires, _, user_id = content.decode().partition(":")
    return user_id if float(expires) > now else None


def _signature(key: bytes, content: bytes) -> bytes:
    # The prefix keeps a pass apart from anything else that may be signed with the same key.
    return hmac.new(key, b"gateway-pass:" + content, sha256).digest()


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
