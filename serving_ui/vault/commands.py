"""Changes of secret scopes, their keys and rights on them; and the values that configs of endpoints store here.

Each command of a person is atomic and reports its change, without the value. `store`, `copy`, `forget` and `rewrap` are called by the
product itself and check no rights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.lib.changes import State, report_change
from serving_ui.lib.refusal import AlreadyExists, NotFound, Refusal
from serving_ui.vault import ciphers
from serving_ui.vault.models import Scope, ScopeGrant, StoredSecret
from serving_ui.vault.queries import Actor, usable_scope
from serving_ui.vault.rights import Right

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,128}")
MAX_VALUE_CHARS = 128 * 1024  # characters


@dataclass(frozen=True)
class Grantee:
    """The principal or group to grant a right to: one of the ids, and the name to show."""

    name: str
    user_id: str | None = None
    group_id: str | None = None


def create_scope(*, name: str, manager: Grantee | None = None, actor: Actor, now: datetime) -> Scope:
    """Creates an empty scope whose creator is `actor`. `manager` gets the right MANAGE on it. Raises AlreadyExists."""
    _check_name(name, field="scope")
    try:
        with transaction.atomic():
            scope = Scope.objects.create(name=name, creator_id=actor.pk, created_at=now)
            _report_scope("create_scope", scope, actor, before=None, after={"creator": str(scope.creator)})
            if manager:
                grant(scope=name, to=manager, right=Right.MANAGE, actor=actor, now=now)
            return scope
    except IntegrityError:
        if not Scope.objects.filter(name=name).exists():
            raise
        raise AlreadyExists(
            _("A secret scope named %(scope)s exists already. Choose another name.") % {"scope": name},
            field="scope",
            status=400,  # what the secrets API of Databricks answers
        ) from None


def delete_scope(*, name: str, actor: Actor, now: datetime) -> None:
    """Deletes a scope with its keys and grants. Endpoints that refer to one of its secrets become not ready."""
    with transaction.atomic():
        scope = usable_scope(name=name, actor=actor, right=Right.MANAGE)
        before = {
            "creator": str(scope.creator),
            "keys": sorted(scope.secrets.values_list("key", flat=True)),
            "rights": {
                str(each.user or each.group): Right(each.right).name
                for each in scope.grants.select_related("user", "group")
            },
        }
        _report_scope("delete_scope", scope, actor, before=before, after=None)
        scope.delete()


def put_secret(*, scope: str, key: str, value: str, actor: Actor, now: datetime) -> None:
    """Sets the value of a key, new or existing."""
    _check_name(key, field="key")
    if not value or len(value) > MAX_VALUE_CHARS:
        raise Refusal(_("Give a value of 1 to 131,072 characters."), field="value")
    key_id, ciphertext = ciphers.ring().encrypt(value)
    with transaction.atomic():
        row = usable_scope(name=scope, actor=actor, right=Right.WRITE)
        values = {"key_id": key_id, "ciphertext": ciphertext, "updated_at": now}
        earlier = StoredSecret.objects.filter(scope=row, key=key).first()
        secret, _is_new = StoredSecret.objects.update_or_create(scope=row, key=key, defaults=values)
        _report_secret("put_secret", row, secret, actor, before=earlier, after=secret)


def delete_secret(*, scope: str, key: str, actor: Actor, now: datetime) -> None:
    """Deletes a key. Raises NotFound."""
    with transaction.atomic():
        row = usable_scope(name=scope, actor=actor, right=Right.WRITE)
        secret = StoredSecret.objects.filter(scope=row, key=key).first()
        if secret is None:
            raise NotFound(
                _("Secret scope %(scope)s has no key %(key)s.") % {"scope": scope, "key": key}, field="key"
            )
        _report_secret("delete_secret", row, secret, actor, before=secret, after=None)
        secret.delete()


def grant(*, scope: str, to: Grantee, right: Right, actor: Actor, now: datetime) -> None:
    """Grants a right in place of an earlier one. Only managers of the scope may, so no grant exceeds its grantor."""
    with transaction.atomic():
        row = usable_scope(name=scope, actor=actor, right=Right.MANAGE)
        if _is_creator(row, to):
            if right < Right.MANAGE:
                raise _creator_keeps_right(row)
            return
        before = _granted_right(row, to)
        ScopeGrant.objects.update_or_create(
            scope=row, user_id=to.user_id, group_id=to.group_id, defaults={"right": right}
        )
        _report_scope(
            "grant", row, actor, before={"rights": before}, after={"rights": _granted_right(row, to)}
        )


def withdraw(*, scope: str, grantee: Grantee, actor: Actor, now: datetime) -> None:
    """Revokes a grant. Raises NotFound if there is none."""
    with transaction.atomic():
        row = usable_scope(name=scope, actor=actor, right=Right.MANAGE)
        if _is_creator(row, grantee):
            raise _creator_keeps_right(row)
        before = _granted_right(row, grantee)
        gone, _rows = ScopeGrant.objects.filter(
            scope=row, user_id=grantee.user_id, group_id=grantee.group_id
        ).delete()
        if not gone:
            raise NotFound(
                _("%(principal)s has no granted right on secret scope %(scope)s.")
                % {"principal": grantee.name, "scope": scope},
                field="principal",
            )
        _report_scope("withdraw", row, actor, before={"rights": before}, after={"rights": {}})


def _granted_right(scope: Scope, to: Grantee) -> dict[str, str]:
    """The right that was granted, by the grantee's name; empty for none."""
    found = ScopeGrant.objects.filter(scope=scope, user_id=to.user_id, group_id=to.group_id).first()
    return {to.name: Right(found.right).name} if found else {}


def _report_scope(
    action: str, scope: Scope, actor: Actor, *, before: State | None, after: State | None
) -> None:
    report_change(
        action,
        kind="secret scope",
        id=scope.pk,
        name=scope.name,
        actor=actor,
        before=before,
        after=after,
    )


def _report_secret(
    action: str,
    scope: Scope,
    secret: StoredSecret,
    actor: Actor,
    *,
    before: StoredSecret | None,
    after: StoredSecret | None,
) -> None:
    """Reports a change of a secret by its `updated_at`; the value is never reported."""
    states = [{"updated_at": each.updated_at.isoformat()} if each else None for each in (before, after)]
    report_change(
        action,
        kind="secret",
        id=secret.pk,
        name=f"{scope.name}/{secret.key}",
        actor=actor,
        before=states[0],
        after=states[1],
    )


def _is_creator(scope: Scope, principal: Grantee) -> bool:
    return principal.user_id is not None and principal.user_id == scope.creator_id


def _creator_keeps_right(scope: Scope) -> Refusal:
    return Refusal(
        _("%(creator)s created secret scope %(scope)s and always has the right MANAGE on it.")
        % {"creator": scope.creator, "scope": scope.name},
        field="principal",
    )


def store(*, value: str, now: datetime) -> str:
    """Stores a value pasted into a config; returns its id."""
    key_id, ciphertext = ciphers.ring().encrypt(value)
    return StoredSecret.objects.create(key_id=key_id, ciphertext=ciphertext, updated_at=now).pk


def copy(*, secret: StoredSecret) -> str:
    """Stores a copy of a secret's present value, which later changes of the secret do not affect; returns its id."""
    row = StoredSecret(key_id=secret.key_id, ciphertext=secret.ciphertext, updated_at=secret.updated_at)
    row.save(force_insert=True)
    return row.pk


def forget(*, ids: Iterable[str]) -> None:
    """Deletes pasted values and copies that no config needs any more."""
    StoredSecret.objects.filter(pk__in=list(ids), scope=None).delete()


def rewrap(*, limit: int = 500) -> int:
    """Encrypts up to `limit` values again with the first key; returns how many values other keys still encrypt.

    Raises ciphers.CannotDecrypt. Gateways need not be told, because the values stay the same.
    """
    ring = ciphers.ring()
    others = StoredSecret.objects.exclude(key_id=ring.primary_id)
    for row in others[:limit]:
        key_id, ciphertext = ring.encrypt(ring.decrypt(row.key_id, row.ciphertext))
        StoredSecret.objects.filter(pk=row.pk, ciphertext=row.ciphertext).update(
            key_id=key_id, ciphertext=ciphertext
        )
    return others.count()


def _check_name(name: str, *, field: str) -> None:
    if not NAME.fullmatch(name):
        raise Refusal(_("Use 1 to 128 letters, digits, dots, @, - and _ for the name."), field=field)
