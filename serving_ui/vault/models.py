"""Rows of the vault. One table holds every encrypted value: a scope's keys and the values pasted into endpoints.

Foreign keys name users and groups as strings: the vault may not import accounts.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from serving_ui.vault.rights import Right


class Scope(models.Model):
    """A named set of secrets. Its creator and admins manage it; a ScopeGrant gives others a right on it."""

    name = models.CharField(max_length=128, unique=True)
    creator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    first_keys: list[StoredSecret]  # set by queries

    def __str__(self) -> str:
        return self.name

    @property
    def right(self) -> int:
        """The Right that the actor of the query has, or 0. Annotated by `queries.scopes`."""
        return int(self.__dict__.get("right_of_actor", 0))

    @property
    def may_write(self) -> bool:
        return self.right >= Right.WRITE

    @property
    def may_manage(self) -> bool:
        return self.right >= Right.MANAGE


class ScopeGrant(models.Model):
    """What a principal, or everybody in a group, may do with a scope."""

    scope = models.ForeignKey(Scope, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey("accounts.Group", null=True, on_delete=models.CASCADE, related_name="+")
    right = models.PositiveSmallIntegerField(choices=[(right.value, right.name) for right in Right])

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope", "user"], name="scope_grant_once_a_user"),
            models.UniqueConstraint(fields=["scope", "group"], name="scope_grant_once_a_group"),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
                name="scope_grant_to_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{Right(self.right).name} on {self.scope_id}"


def new_id() -> str:
    return uuid.uuid4().hex


class StoredSecret(models.Model):
    """One encrypted value. With a scope it is `{{secrets/<scope>/<key>}}`; without, a value pasted into a config."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    scope = models.ForeignKey(Scope, null=True, on_delete=models.CASCADE, related_name="secrets")
    key = models.CharField(max_length=128, blank=True)
    key_id = models.CharField(max_length=64, db_index=True)  # the vault key that encrypts it
    ciphertext = models.TextField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["scope", "key"],
                condition=models.Q(scope__isnull=False),
                name="secret_key_once_a_scope",
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.id}"
