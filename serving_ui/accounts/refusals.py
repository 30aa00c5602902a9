"""What the directory and the tokens refuse, with the REST error code and status that say so.

AccountError (commands)   400
├── NotAllowed            403
├── NotFound              404
├── NameTaken             409
└── InUse                 409   what it made is still there
"""

from __future__ import annotations

from serving_ui.accounts.commands import AccountError


class NotAllowed(AccountError):
    """Only an admin may do this."""

    code, status = "PERMISSION_DENIED", 403


class NotFound(AccountError):
    """There is no such person, group or token."""

    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class NameTaken(AccountError):
    """Another one has that name."""

    code, status = "RESOURCE_ALREADY_EXISTS", 409


class InUse(AccountError):
    """It cannot go while others depend on it."""

    code, status = "RESOURCE_CONFLICT", 409
