"""Rows of the vault. One table holds every encrypted value: a scope's keys and the values pasted into endpoints."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models


class Scope(models.Model):
    """A named set of secrets. Its creator and admins read and change it."""

    name = models.CharField(max_length=128, unique=True)
    creator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


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
