"""What the vault refuses.

VaultError
├── ScopeNotFound, SecretNotFound
├── NameTaken, BadName, BadValue
└── NotAllowed
"""

from __future__ import annotations


class VaultError(Exception):
    """A refusal; the text is a sentence for a person, `field` the input that it concerns."""

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class ScopeNotFound(VaultError):
    """There is no such scope, or the person may not know of it."""


class SecretNotFound(VaultError):
    """The scope has no such key."""


class NameTaken(VaultError):
    """Another scope has that name."""


class BadName(VaultError):
    """A scope's or key's name breaks the rule."""


class BadValue(VaultError):
    """An empty or too large value."""


class NotAllowed(VaultError):
    """The person may not change this scope."""
