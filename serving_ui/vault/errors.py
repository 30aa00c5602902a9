"""What the vault refuses, with the REST error code and status that say so.

VaultError                          400
├── ScopeNotFound, SecretNotFound,
│   GrantNotFound                   404
├── NameTaken, BadName, BadValue    400
└── NotAllowed                      403
"""

from __future__ import annotations


class VaultError(Exception):
    """A refusal; the text is a sentence for a person, `field` the input that it concerns."""

    code = "INVALID_PARAMETER_VALUE"
    status = 400

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class ScopeNotFound(VaultError):
    """There is no such scope, or the person may not know of it."""

    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class SecretNotFound(VaultError):
    """The scope has no such key."""

    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class GrantNotFound(VaultError):
    """The principal was given no right on the scope."""

    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class NameTaken(VaultError):
    """Another scope has that name."""

    code = "RESOURCE_ALREADY_EXISTS"


class BadName(VaultError):
    """A scope's or key's name breaks the rule."""


class BadValue(VaultError):
    """An empty or too large value."""


class NotAllowed(VaultError):
    """The person may not change this scope."""

    code, status = "PERMISSION_DENIED", 403
