"""A pasted key kept across redraws of a form, as an encrypted hidden field: the page never holds the key itself.

The seal is bound to a purpose (person and field) and to an hour, so a copied one is of no use elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class DraftInvalid(Exception):
    """The draft is too old, foreign or changed; the key must be pasted again."""


def seal(value: str, *, purpose: str) -> str:
    """Encrypts a typed value for its way through the page."""
    return _cipher().encrypt(json.dumps([purpose, value]).encode()).decode()


def unseal(token: str, *, purpose: str, max_age: int = 3600) -> str:
    """The value typed up to `max_age` seconds ago. Raises DraftInvalid."""
    try:
        sealed_for, value = json.loads(_cipher().decrypt(token.encode(), ttl=max_age))
    except (InvalidToken, ValueError):
        raise DraftInvalid from None
    if sealed_for != purpose:
        raise DraftInvalid
    return str(value)


def _cipher() -> Fernet:
    # Its own key, derived: a draft can never be opened as, or mistaken for, a stored secret.
    digest = hashlib.sha256(b"serving-ui draft:" + settings.PASS_KEY).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
