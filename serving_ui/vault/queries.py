"""Reads of the vault. `values` and `stored_value` are for deployment alone; faces get names and dates."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from django.db.models import Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.vault import ciphers
from serving_ui.vault.errors import ScopeNotFound
from serving_ui.vault.models import Scope, StoredSecret

Reference = tuple[str, str]  # scope, key


class Actor(Protocol):
    """The person who acts; accounts are strangers to the vault, so their model is not named here."""

    pk: str
    is_admin: bool


def scopes(*, actor: Actor) -> QuerySet[Scope]:
    """The scopes that the person may read, by name, each with its secrets (names and dates) in two queries."""
    visible = Scope.objects.all() if actor.is_admin else Scope.objects.filter(creator_id=actor.pk)
    names = StoredSecret.objects.defer("ciphertext").order_by("key")
    return (
        visible.select_related("creator")
        .order_by("name")
        .prefetch_related(Prefetch("secrets", queryset=names))
    )


def readable_scope(*, name: str, actor: Actor) -> Scope:
    """The scope; raises ScopeNotFound also when it exists and the person may not read it."""
    scope = scopes(actor=actor).filter(name=name).first()
    if scope is None:
        raise ScopeNotFound(
            _("There is no secret scope %(scope)s that you may use. Make it on the Secrets page.")
            % {"scope": name},
            field="scope",
        )
    return scope


def missing(*, references: Iterable[Reference]) -> set[Reference]:
    """Those references that name no stored secret."""
    wanted = set(references)
    return wanted - set(_stored(wanted).values_list("scope__name", "key"))


def dates(*, references: Iterable[Reference]) -> dict[Reference, datetime]:
    """When each referenced secret was last put; a change means that it must be resolved again."""
    return {
        (scope, key): at
        for scope, key, at in _stored(references).values_list("scope__name", "key", "updated_at")
    }


def values(*, references: Iterable[Reference]) -> dict[Reference, str]:
    """The referenced values; a missing one is absent. Raises ciphers.Unreadable."""
    rows = _stored(references).values_list("scope__name", "key", "key_id", "ciphertext")
    return {(scope, key): ciphers.ring().open(key_id, text) for scope, key, key_id, text in rows}


def stored_values(*, ids: Iterable[str]) -> dict[str, str]:
    """Values pasted into configs, by id; a missing one is absent. Raises ciphers.Unreadable."""
    rows = StoredSecret.objects.filter(pk__in=set(ids), scope=None).values_list("pk", "key_id", "ciphertext")
    return {pk: ciphers.ring().open(key_id, text) for pk, key_id, text in rows}


def _stored(references: Iterable[Reference]) -> QuerySet[StoredSecret]:
    any_of = Q(pk__in=[])
    for scope, key in set(references):
        any_of |= Q(scope__name=scope, key=key)
    return StoredSecret.objects.filter(any_of)
