"""The reply to a POST that had an Idempotency-Key."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class IdempotentReply(models.Model):
    """Kept for a day. A row without a reply was reserved by the previous release, whose request runs or died."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    key_id = models.CharField(max_length=64, blank=True)  # the vault key that encrypts the reply
    reply = models.TextField(blank=True)  # encrypted, because it may hold a new access token
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_a_user")
        ]

    def __str__(self) -> str:
        return f"reply to {self.user_id}"
