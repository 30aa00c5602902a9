"""Encrypts a pasted key for a hidden field, which carries it across redraws of a form: the page never holds the key itself.

The ciphertext is bound to a purpose (person and field) and expires after an hour, so a copied one is of no use elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class DraftInvalid(Exception):
    """The draft has expired, was changed, or has another purpose; the key must be pasted again."""


def encrypt(value: str, *, purpose: str) -> str:
    """Encrypts a typed value for its way through the page."""
    return _cipher().encrypt(json.dumps([purpose, value]).encode()).decode()


def decrypt(token: str, *, purpose: str, max_age: int = 3600) -> str:
    """The value typed up to `max_age` seconds ago. Raises DraftInvalid."""
    try:
        encrypted_for, value = json.loads(_cipher().decrypt(token.encode(), ttl=max_age))
    except (InvalidToken, ValueError):
        raise DraftInvalid from None
    if encrypted_for != purpose:
        raise DraftInvalid
    return str(value)


def _cipher() -> Fernet:
    # A key derived for drafts alone, so that a draft cannot be decrypted as a stored secret.
    digest = hashlib.sha256(b"serving-ui draft:" + settings.SESSION_TOKEN_KEY).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
