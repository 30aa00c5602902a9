"""The one row of the API's own: the answer to a POST that carried an Idempotency-Key."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class IdempotentReply(models.Model):
    """Kept for a day. Without a reply it is a reservation of the version before, whose request runs or died."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    key_id = models.CharField(max_length=64, blank=True)  # the vault key that encrypts the reply
    reply = models.TextField(blank=True)  # encrypted: it may hold a token, which is shown once
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_a_user")
        ]

    def __str__(self) -> str:
        return f"reply to {self.user_id}"
