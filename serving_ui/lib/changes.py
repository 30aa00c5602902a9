"""The report that every command makes of its change: who changed which object, and its state before and after.

`change_reported` is a signal of Django that is sent inside the transaction of the command. A receiver that writes a row therefore
writes it together with the change, and one that raises undoes the change: an audit log needs a receiver and no edit of a command.
It is no table, because lib has no models, and no return value, because a caller could ignore it.

`tests/lib/test_changes.py` runs every command and checks its report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import transaction
from django.dispatch import Signal

State = Mapping[str, Any]
"""JSON values. A secret is a reference to it or left out, never its value."""

change_reported = Signal()


class Actor(Protocol):
    pk: str


@dataclass(frozen=True, slots=True)
class ReportedChange:
    action: str
    """The name of the command."""
    kind: str
    """The type of the changed object: endpoint, secret scope, secret, principal, group, access token, sign-in link or workspace."""
    id: str
    name: str
    actor: str | None
    """The id of the principal; None for a command of `manage.py`."""
    before: State | None
    """None if the command created the object."""
    after: State | None
    """None if the command deleted the object."""


def report_change(
    action: str,
    *,
    kind: str,
    id: object,
    name: str,
    actor: Actor | None,
    before: State | None,
    after: State | None,
) -> None:
    """Sends `change_reported`. `before` and `after` contain only what the command can change. Must be called in the transaction of the change."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(f"{action} must report its change in a transaction.")
    change = ReportedChange(action, kind, str(id), name, actor.pk if actor else None, before, after)
    change_reported.send(sender=ReportedChange, change=change)
