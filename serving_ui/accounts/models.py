"""Rows of accounts: User (the e-mail is the name), SignInLink and AccessToken.

Links and tokens are kept as SHA-256 digests of 256-bit random values: a copied database opens nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _


def digest_of(value: str) -> str:
    """The hex digest under which a link or a token is stored."""
    return hashlib.sha256(value.encode()).hexdigest()


def new_id() -> str:
    """32 hex digits, the shape of every public id."""
    return uuid.uuid4().hex


class People(BaseUserManager["User"]):
    """Finds and makes users by e-mail, whatever its capitals."""

    def named(self, email: str) -> User | None:
        return self.filter(email__iexact=email.strip()).first()


class User(AbstractBaseUser):
    """A person. Signs in by one-time link; calls the API by access token. Has no password."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    password = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=200, blank=True)
    is_admin = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = People()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("email"), name="user_email_once")]

    def __str__(self) -> str:
        return self.email

    def get_session_auth_hash(self) -> str:
        """A session ends when its person is deactivated; there is no password to change."""
        return digest_of(f"{self.id}:{self.is_active}")

    def get_session_auth_fallback_hash(self) -> list[str]:
        return []


class SignInLink(models.Model):
    """A link that signs its person in once, until it expires."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_in_links")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}"


class AccessToken(models.Model):
    """A bearer token for the API and the gateway. Its value is shown once and never stored."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    comment = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"access token {self.id}"
