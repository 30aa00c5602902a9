"""Queries of the vault: scopes, names and dates of keys, and values.

Pages and API get names and dates, and `value_of`, which checks the actor's right on the scope (`secrets/get`). The functions that
return encrypted or plain values without an actor take ids, never names: what an id may be used for is decided by the bindings of
`endpoints`, which check the rights of the person who gave the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db.models import Case, IntegerField, Max, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from serving_ui.lib.refusal import NotAllowed, NotFound
from serving_ui.vault import ciphers
from serving_ui.vault.models import Scope, ScopeGrant, StoredSecret
from serving_ui.vault.rights import Right

Reference = tuple[str, str]  # scope, key


class Actor(Protocol):
    """The person who acts. A protocol, because the vault may not import the model of accounts."""

    pk: str
    is_admin: bool

    def group_ids(self) -> QuerySet[Any, str]: ...


def scopes(*, actor: Actor) -> QuerySet[Scope]:
    """The scopes that the person may read, by name, with `right`; each with its secrets (names and dates) in two queries."""
    names = StoredSecret.objects.defer("ciphertext").order_by("key")
    return (
        Scope.objects.annotate(right_of_actor=_right_of(actor))
        .filter(right_of_actor__gte=Right.READ)
        .select_related("creator")
        .order_by("name")
        .prefetch_related(Prefetch("secrets", queryset=names))
    )


def _right_of(actor: Actor) -> Any:
    """A query expression: the highest Right that the actor has on a scope, or 0."""
    if actor.is_admin:
        return Value(int(Right.MANAGE), output_field=IntegerField())
    grants = ScopeGrant.objects.filter(Q(user_id=actor.pk) | Q(group_id__in=actor.group_ids()))
    highest = grants.filter(scope=OuterRef("pk")).values("scope").annotate(highest=Max("right"))
    return Case(
        When(creator_id=actor.pk, then=Value(int(Right.MANAGE))),
        default=Coalesce(Subquery(highest.values("highest")), 0),
        output_field=IntegerField(),
    )


def usable_scope(*, name: str, actor: Actor, right: Right) -> Scope:
    """The scope, if the person has `right` on it. Raises NotFound (also when it may not be read) or NotAllowed."""
    scope = readable_scope(name=name, actor=actor)
    if scope.right < right:
        raise NotAllowed(
            _("You need the right %(right)s on secret scope %(scope)s. Ask %(creator)s for it.")
            % {"right": right.name, "scope": name, "creator": scope.creator},
            field="scope",
        )
    return scope


def readable_scope(*, name: str, actor: Actor) -> Scope:
    """The scope; raises NotFound also when it exists and the person may not read it."""
    scope = scopes(actor=actor).filter(name=name).prefetch_related(None).first()
    if scope is None:
        raise NotFound(
            _(
                "There is no secret scope %(scope)s that you may use. Create it on the Secrets page, or ask for a right on it."
            )
            % {"scope": name},
            field="scope",
        )
    return scope


def with_some_keys(found: QuerySet[Scope], *, limit: int) -> QuerySet[Scope]:
    """The scopes, each with its first `limit` keys as `first_keys` (names and dates), in two queries."""
    names = StoredSecret.objects.defer("ciphertext").order_by("key")[:limit]
    some = Prefetch("secrets", queryset=names, to_attr="first_keys")
    return found.prefetch_related(None).prefetch_related(some)  # type: ignore[no-redef]


def references(*, actor: Actor, limit: int) -> list[Reference]:
    """References to the first `limit` keys that the person may read, by scope and key."""
    readable = scopes(actor=actor).prefetch_related(None).order_by().values("pk")
    rows = StoredSecret.objects.filter(scope__in=readable).order_by("scope__name", "key")
    return list(rows.values_list("scope__name", "key")[:limit])


def keys(*, scope: Scope) -> QuerySet[StoredSecret]:
    """The secrets of a scope, names and dates, by key."""
    return scope.secrets.defer("ciphertext").order_by("key")


def value_of(*, scope: str, key: str, actor: Actor) -> bytes:
    """The value of a key. Raises NotFound and ciphers.CannotDecrypt."""
    found = StoredSecret.objects.filter(scope=readable_scope(name=scope, actor=actor), key=key).first()
    if found is None:
        raise NotFound(
            _("Secret scope %(scope)s has no key %(key)s.") % {"scope": scope, "key": key}, field="key"
        )
    return ciphers.as_bytes(ciphers.ring().decrypt(found.key_id, found.ciphertext))


def grants(*, scope: str, actor: Actor) -> list[ScopeGrant]:
    """The grants on a scope, for its managers. The right of its creator and of admins is no grant."""
    row = usable_scope(name=scope, actor=actor, right=Right.MANAGE)
    found = row.grants.select_related("scope__creator", "user", "group")
    return list(found.order_by("user__email", "group__name"))


def readable(*, references: Iterable[Reference], actor: Actor) -> dict[Reference, StoredSecret]:
    """The keys among `references` that exist and that the actor may read, with their scopes. One query."""
    wanted = set(references)
    if not wanted:
        return {}
    scopes = Scope.objects.annotate(right_of_actor=_right_of(actor)).filter(
        name__in={scope for scope, _key in wanted}, right_of_actor__gte=Right.READ
    )
    rows = StoredSecret.objects.filter(scope__in=scopes, key__in={key for _scope, key in wanted})
    found = {(row.scope.name, row.key): row for row in rows.select_related("scope") if row.scope}
    return {reference: row for reference, row in found.items() if reference in wanted}


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """One encrypted value. Decrypted one by one, so that an unreadable value affects no other."""

    key_id: str
    ciphertext: str = field(repr=False)

    def decrypt(self) -> str:
        """The value. Raises ciphers.CannotDecrypt."""
        return ciphers.ring().decrypt(self.key_id, self.ciphertext)


def encrypted_values(*, ids: Iterable[str]) -> dict[str, EncryptedValue]:
    """Encrypted values pasted into configs, by id, without those that do not exist."""
    wanted = set(ids)
    rows = StoredSecret.objects.filter(pk__in=wanted, scope=None).values_list("pk", "key_id", "ciphertext")
    return {pk: EncryptedValue(key_id, text) for pk, key_id, text in rows} if wanted else {}


def stored_values(*, ids: Iterable[str]) -> dict[str, str]:
    """Decrypted values pasted into configs, by id, without those that do not exist. Raises ciphers.CannotDecrypt."""
    return {pk: value.decrypt() for pk, value in encrypted_values(ids=ids).items()}
