"""What the secret references of config versions mean: each a secret by its identity, sent on the right of one principal.

Both are asked for whenever a reference is resolved: is the secret there, and may its authoriser read it now? A secret of the same
name that is made later is another one. An authoriser who is deactivated keeps the right; what is sent is the value of then.
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

CURRENT = Q(version=F("version__endpoint__active")) | Q(version=F("version__endpoint__pending"))


def place_of(path: Path) -> str:
    """A path in a config, as it is stored."""
    return "/".join(map(str, path))


def judged() -> QuerySet[SecretBinding]:
    """Every binding with `is_allowed`: the right READ on a scope as `vault.queries` reckons it for one person, for all in one go."""
    given = ScopeGrant.objects.filter(
        Q(user=OuterRef("authoriser"))
        | Q(group__memberships__user=OuterRef("authoriser"))
        | Q(group__name=EVERYONE),
        scope=OuterRef("secret__scope"),
    )
    allowed = Q(authoriser__is_admin=True) | Q(secret__scope__creator=F("authoriser")) | Exists(given)
    return SecretBinding.objects.annotate(
        is_allowed=Case(When(Q(secret__scope__isnull=False) & allowed, then=True), default=False)
    )


def unusable() -> QuerySet[SecretBinding]:
    """The bindings whose secret may not be sent."""
    return judged().filter(Q(is_allowed=False) | Q(authoriser__is_active=False, held=None))


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding as it stands at the moment, with all that it takes to say so. Not a model: there may be one for each endpoint."""

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
    """Who the authoriser is."""
    is_active: bool
    """Whether the authoriser is."""
    owner: str | None
    """Whom to ask: who made the scope."""
    secret: secrets.Sealed | None
    held: secrets.Sealed | None

    @property
    def reference(self) -> str:
        return reference_to(self.scope, self.key)


def of(versions: Iterable[int]) -> list[Bound]:
    """The bindings of these config versions. One query."""
    found = judged().filter(version__in=list(versions)).order_by("pk")
    return [
        Bound(*(*row, _sealed(now, text), _sealed(then, kept)))
        for *row, now, text, then, kept in found.values_list(*_BOUND, *_VALUES)
    ]


_BOUND = (
    *("pk", "version", "place", "scope", "key", "secret_id", "held_id", "authoriser_id", "owner_id"),
    *("is_allowed", "authoriser__email", "authoriser__is_active", "owner__email"),
)
_VALUES = ("secret__key_id", "secret__ciphertext", "held__key_id", "held__ciphertext")


def _sealed(key_id: str | None, ciphertext: str | None) -> secrets.Sealed | None:
    return secrets.Sealed(key_id, ciphertext) if key_id is not None and ciphertext is not None else None


def problem(row: Bound) -> str | None:
    """Why the secret may not be sent, in a sentence that says whom to ask; None when it may."""
    if row.secret is None:
        sentence = _(
            "The secret %(secret)s that this endpoint was given was deleted, and a new one of the same name is another one. Ask %(owner)s, then edit the endpoint to give it a secret."
        )
    elif not row.may_read:
        sentence = _(
            "%(person)s gave this endpoint the secret %(secret)s and may not read it any more. Ask %(owner)s for the right READ on secret scope %(scope)s, or edit the endpoint."
        )
    elif not row.is_active and row.held is None:
        sentence = _(
            "%(person)s, who gave this endpoint the secret %(secret)s, is deactivated. Somebody who may read it must take the endpoint over. Ask %(owner)s."
        )
    else:
        return None
    owner = row.owner or _("an admin")
    return sentence % {"secret": row.reference, "scope": row.scope, "person": row.person, "owner": owner}


def first_problem(version: int | None) -> str | None:
    """Why a config version may not be served, as far as its secret references go."""
    found = (problem(row) for row in of([version] if version else []))
    return next(filter(None, found), None)


def sealed(row: Bound) -> secrets.Sealed:
    """The value to send, if there is no problem."""
    value = row.secret if row.is_active else row.held
    assert value is not None  # noqa: S101 - else there is a problem
    return value


def new(path: Path, secret: StoredSecret, *, authoriser: User) -> SecretBinding:
    """A binding, not saved yet, to a scope's secret on the right of whoever gives it."""
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


def carried(row: Bound, path: Path) -> SecretBinding:
    """The same secret on the same right for another config version; not saved yet."""
    return SecretBinding(
        place=place_of(path),
        scope=row.scope,
        key=row.key,
        secret_id=row.secret_id,
        authoriser_id=row.authoriser_id,
        owner_id=row.owner_id,
        held_id=vault.copy(of=StoredSecret.objects.get(pk=row.held_id)) if row.held else None,
    )


@transaction.atomic
def follow_activity(*, user: User) -> None:
    """For whoever is deactivated, keeps the values that are served on their right; lets them go for whoever is active again.

    Before the revision is raised: a rotation that has its secret's row and waits for the revision must not be waited for.
    """
    theirs = SecretBinding.objects.filter(authoriser=user)
    if user.is_active:
        release(theirs.filter(held__isnull=False))
        return
    rows = list(theirs.filter(CURRENT, held=None))
    wanted = StoredSecret.objects.select_for_update(no_key=True).filter(
        pk__in=[row.secret_id for row in rows]
    )
    held = {secret.pk: secret for secret in wanted.order_by("pk")}
    for row in rows:
        if row.secret_id in held:
            row.held_id = vault.copy(of=held[row.secret_id])
            row.save(update_fields=["held"])


def release(rows: QuerySet[SecretBinding]) -> None:
    """Forgets the values that these bindings hold."""
    if kept := dict(rows.values_list("pk", "held")):
        vault.forget(ids=kept.values())
        SecretBinding.objects.filter(pk__in=kept).update(held=None)
