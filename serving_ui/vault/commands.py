"""Every change of the vault: keyword-only, one transaction each. Returns no value that it was given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.vault import ciphers, errors
from serving_ui.vault.models import Scope, StoredSecret
from serving_ui.vault.queries import Actor, readable_scope

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,128}")
LARGEST_VALUE = 128 * 1024  # characters


def create_scope(*, name: str, actor: Actor, now: datetime) -> Scope:
    """A new, empty scope of the person's own."""
    _check_name(name, field="scope")
    try:
        with transaction.atomic():
            return Scope.objects.create(name=name, creator_id=actor.pk, created_at=now)
    except IntegrityError:
        raise errors.NameTaken(
            _("A secret scope named %(scope)s exists already. Choose another name.") % {"scope": name},
            field="scope",
        ) from None


def delete_scope(*, name: str, actor: Actor, now: datetime) -> None:
    """Removes a scope with all that it holds. Endpoints that refer to it keep their last deployment only."""
    with transaction.atomic():
        readable_scope(name=name, actor=actor).delete()


def put_secret(*, scope: str, key: str, value: str, actor: Actor, now: datetime) -> None:
    """Sets the value of a key, new or existing."""
    _check_name(key, field="key")
    if not value or len(value) > LARGEST_VALUE:
        raise errors.BadValue(_("Give a value of 1 to 131,072 characters."), field="value")
    key_id, ciphertext = ciphers.ring().seal(value)
    with transaction.atomic():
        row = readable_scope(name=scope, actor=actor)
        fresh = {"key_id": key_id, "ciphertext": ciphertext, "updated_at": now}
        StoredSecret.objects.update_or_create(scope=row, key=key, defaults=fresh)


def delete_secret(*, scope: str, key: str, actor: Actor, now: datetime) -> None:
    """Removes one key."""
    with transaction.atomic():
        secret = StoredSecret.objects.filter(scope=readable_scope(name=scope, actor=actor), key=key).first()
        if secret is None:
            raise errors.SecretNotFound(
                _("Secret scope %(scope)s has no key %(key)s.") % {"scope": scope, "key": key}, field="key"
            )
        secret.delete()


def store(*, value: str, now: datetime) -> str:
    """Keeps a value pasted into a config; returns its id."""
    key_id, ciphertext = ciphers.ring().seal(value)
    return StoredSecret.objects.create(key_id=key_id, ciphertext=ciphertext, updated_at=now).pk


def forget(*, ids: Iterable[str]) -> None:
    """Removes values pasted into configs that no longer exist."""
    StoredSecret.objects.filter(pk__in=list(ids), scope=None).delete()


def rewrap(*, limit: int = 500) -> int:
    """Seals up to `limit` values again with the first key; returns how many are left under other keys."""
    ring = ciphers.ring()
    others = StoredSecret.objects.exclude(key_id=ring.primary_id)
    for row in others[:limit]:
        key_id, ciphertext = ring.seal(ring.open(row.key_id, row.ciphertext))
        StoredSecret.objects.filter(pk=row.pk, ciphertext=row.ciphertext).update(
            key_id=key_id, ciphertext=ciphertext
        )
    return others.count()


def _check_name(name: str, *, field: str) -> None:
    if not NAME.fullmatch(name):
        raise errors.BadName(_("Use 1 to 128 letters, digits, dots, @, - and _ for the name."), field=field)
