"""Bindings: which secret each reference of a config version means, and the user (the authoriser) on whose right it is sent. `problem`
decides whether a secret may be sent.

Whenever a reference is resolved, the secret must exist and its authoriser must have the right to read it. A secret that was deleted
and created again under the same name is a different secret. If the authoriser is deactivated, the right stays, and the value that the
secret had at that moment is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, When
from django.utils.translation import gettext as _

from serving_ui.accounts.models import EVERYONE, User
from serving_ui.catalogue.problems import Path
from serving_ui.endpoints.models import SecretBinding, reference_to
from serving_ui.vault import commands as vault
from serving_ui.vault import queries as secrets
from serving_ui.vault.models import ScopeGrant, StoredSecret

IS_CURRENT = Q(version=F("version__endpoint__active")) | Q(version=F("version__endpoint__pending"))


def place_of(path: Path) -> str:
    """The path of a secret in a config, as `SecretBinding.place` stores it."""
    return "/".join(map(str, path))


def with_rights() -> QuerySet[SecretBinding]:
    """All bindings with `is_allowed`: whether the authoriser has the right READ on the secret's scope. `vault.queries` has the same
    rule for one person."""
    grants = ScopeGrant.objects.filter(
        Q(user=OuterRef("authoriser"))
        | Q(group__memberships__user=OuterRef("authoriser"))
        | Q(group__name=EVERYONE),
        scope=OuterRef("secret__scope"),
    )
    allowed = Q(authoriser__is_admin=True) | Q(secret__scope__creator=F("authoriser")) | Exists(grants)
    return SecretBinding.objects.annotate(
        is_allowed=Case(When(Q(secret__scope__isnull=False) & allowed, then=True), default=False)
    )


def unusable() -> QuerySet[SecretBinding]:
    """The bindings whose secret may not be sent."""
    return with_rights().filter(Q(is_allowed=False) | Q(authoriser__is_active=False, held=None))


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding with the current state of its secret and authoriser. Not a model instance, because snapshots load one per reference."""

    pk: int
    version_id: int
    place: str
    scope: str
    key: str
    secret_id: str | None
    held_id: str | None
    authoriser_id: str
    owner_id: str | None
    may_read: bool
    person: str
    """E-mail of the authoriser."""
    is_active: bool
    """Whether the authoriser is active."""
    owner: str | None
    """E-mail of the scope's creator, whom the sentences of `problem` name."""
    secret: secrets.EncryptedValue | None
    held: secrets.EncryptedValue | None
    """The value that is sent while the authoriser is deactivated."""

    @property
    def reference(self) -> str:
        return reference_to(self.scope, self.key)


def of_versions(versions: Iterable[int]) -> list[Bound]:
    """The bindings of these config versions. One query."""
    found = with_rights().filter(version__in=list(versions)).order_by("pk")
    return [
        Bound(*(*row, _encrypted_value(key_id, text), _encrypted_value(held_key_id, held_text)))
        for *row, key_id, text, held_key_id, held_text in found.values_list(*_BOUND, *_VALUES)
    ]


_BOUND = (
    *("pk", "version", "place", "scope", "key", "secret_id", "held_id", "authoriser_id", "owner_id"),
    *("is_allowed", "authoriser__email", "authoriser__is_active", "owner__email"),
)
_VALUES = ("secret__key_id", "secret__ciphertext", "held__key_id", "held__ciphertext")


def _encrypted_value(key_id: str | None, ciphertext: str | None) -> secrets.EncryptedValue | None:
    return (
        secrets.EncryptedValue(key_id, ciphertext) if key_id is not None and ciphertext is not None else None
    )


def problem(row: Bound) -> str | None:
    """A sentence that says why the secret may not be sent and whom to ask; None if it may."""
    if row.secret is None:
        sentence = _(
            "The secret %(secret)s of this endpoint was deleted. A new secret of the same name does not replace it. Ask %(owner)s, then edit the endpoint and give it a secret."
        )
    elif not row.may_read:
        sentence = _(
            "%(person)s gave this endpoint the secret %(secret)s but may no longer read it. Ask %(owner)s for the right READ on secret scope %(scope)s, or edit the endpoint."
        )
    elif not row.is_active and row.held is None:
        sentence = _(
            "%(person)s, who gave this endpoint the secret %(secret)s, is deactivated. Somebody who may read the secret must press Take over on the endpoint's page. Ask %(owner)s."
        )
    else:
        return None
    owner = row.owner or _("an admin")
    return sentence % {"secret": row.reference, "scope": row.scope, "person": row.person, "owner": owner}


def first_problem(version: int | None) -> str | None:
    """The first `problem` of a config version's bindings."""
    found = (problem(row) for row in of_versions([version] if version else []))
    return next(filter(None, found), None)


def encrypted_value(row: Bound) -> secrets.EncryptedValue:
    """The value to send. Must not be called if there is a `problem`."""
    value = row.secret if row.is_active else row.held
    assert value is not None  # noqa: S101 - else there is a problem
    return value


def new_binding(path: Path, secret: StoredSecret, *, authoriser: User) -> SecretBinding:
    """An unsaved binding to a scope's secret, without its version."""
    scope = secret.scope
    assert scope is not None  # noqa: S101 - a value without a scope is no reference
    return SecretBinding(
        place=place_of(path),
        scope=scope.name,
        key=secret.key,
        secret=secret,
        authoriser=authoriser,
        owner_id=scope.creator_id,
    )


def copy_binding(row: Bound, path: Path) -> SecretBinding:
    """An unsaved binding of another config version to the same secret on the same right."""
    return SecretBinding(
        place=place_of(path),
        scope=row.scope,
        key=row.key,
        secret_id=row.secret_id,
        authoriser_id=row.authoriser_id,
        owner_id=row.owner_id,
        held_id=vault.copy(secret=StoredSecret.objects.get(pk=row.held_id)) if row.held else None,
    )


@transaction.atomic
def freeze_or_release_values(*, user: User) -> None:
    """When a user is deactivated, copies the current values of the secrets that are sent on the user's right; deletes the copies when
    the user is active again.

    Must run before the revision is raised. A rotation of a secret locks the secret's row and then the revision's: the opposite order
    here would be a deadlock.
    """
    authorised = SecretBinding.objects.filter(authoriser=user)
    if user.is_active:
        delete_frozen_values(authorised.filter(held__isnull=False))
        return
    rows = list(authorised.filter(IS_CURRENT, held=None))
    current = StoredSecret.objects.select_for_update(no_key=True).filter(
        pk__in=[row.secret_id for row in rows]
    )
    secrets_by_id = {secret.pk: secret for secret in current.order_by("pk")}
    for row in rows:
        if row.secret_id in secrets_by_id:
            row.held_id = vault.copy(secret=secrets_by_id[row.secret_id])
            row.save(update_fields=["held"])


def delete_frozen_values(rows: QuerySet[SecretBinding]) -> None:
    """Deletes the values that these bindings hold."""
    if held := dict(rows.values_list("pk", "held")):
        vault.forget(ids=held.values())
        SecretBinding.objects.filter(pk__in=held).update(held=None)
