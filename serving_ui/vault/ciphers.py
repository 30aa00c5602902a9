"""Encryption with named keys: values are encrypted with the first key of the ring and decrypted with the key that encrypted them.

The key's id stands beside each ciphertext, so that re-wrapping can be counted and a key in use can be refused retirement.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from serving_ui.lib.env import EnvError


def as_text(value: bytes) -> str:
    """Any bytes as a string that `as_bytes` turns back exactly; text in UTF-8 becomes that text."""
    return value.decode(errors="surrogateescape")


def as_bytes(value: str) -> bytes:
    """The bytes that a string stands for."""
    return value.encode(errors="surrogateescape")


class CannotDecrypt(Exception):
    """A value cannot be decrypted with the configured keys."""


class KeyRing:
    """The vault's keys, from lines `<id> <key>`; the first encrypts."""

    def __init__(self, lines: list[str]) -> None:
        pairs = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise EnvError(
                "The vault's keys cannot be read. Each line must hold an id and a key, separated by a space."
            )
        if len({key_id for key_id, _key in pairs}) < len(pairs):
            raise EnvError("Two vault keys have the same id. Give each line an id of its own.")
        try:
            self.keys = {key_id: Fernet(key) for key_id, key in pairs}
        except ValueError:
            raise EnvError(
                "A vault key is not 32 url-safe base64-encoded bytes. Restore the key file."
            ) from None
        self.primary_id = pairs[0][0]
        self.all = MultiFernet(list(self.keys.values()))

    def encrypt(self, value: str) -> tuple[str, str]:
        """(key id, ciphertext)."""
        return self.primary_id, self.keys[self.primary_id].encrypt(as_bytes(value)).decode()

    def decrypt(self, key_id: str, ciphertext: str) -> str:
        """The value. Raises CannotDecrypt when its key is missing or wrong."""
        key = self.keys.get(key_id)
        if key is None:
            raise CannotDecrypt(f"its key {key_id} is not among the vault's keys")
        try:
            return as_text(key.decrypt(ciphertext.encode()))
        except InvalidToken:
            raise CannotDecrypt(f"its key {key_id} does not decrypt it") from None


@lru_cache(maxsize=4)
def _ring(lines: tuple[str, ...]) -> KeyRing:
    return KeyRing(list(lines))


def ring() -> KeyRing:
    """The key ring of the settings."""
    return _ring(tuple(settings.VAULT_KEYS))
