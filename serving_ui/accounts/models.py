"""Rows of accounts: User (a person or a service principal), Group with its Memberships, SignInLink and AccessToken.

Links and tokens are kept as SHA-256 digests of 256-bit random values: a copied database opens nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _


def digest_of(value: str) -> str:
    """The hex digest under which a link or a token is stored."""
    return hashlib.sha256(value.encode()).hexdigest()


def new_id() -> str:
    """32 hex digits, the shape of every public id."""
    return uuid.uuid4().hex


def is_named(field: str, name: str) -> Exact:
    """The condition that a field is this name, whatever its capitals.

    `iexact` would be LIKE in SQLite, which fails on a long name; this finds the name in the index of its constraint.
    """
    return Exact(Lower(field), Lower(models.Value(name.strip())))


class People(BaseUserManager["User"]):
    """Finds and makes users by e-mail, whatever its capitals."""

    def named(self, email: str) -> User | None:
        return self.filter(is_named("email", email)).first()


class User(AbstractBaseUser):
    """A person, or a service principal: a program's own account, whose `email` is its application id instead.

    A person signs in by one-time link; both call the API by access token. There are no passwords.
    """

    class Kind(models.TextChoices):
        PERSON = "user"
        SERVICE_PRINCIPAL = "service_principal"

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    password = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=200, blank=True)
    kind = models.CharField(max_length=17, default=Kind.PERSON, choices=Kind.choices)
    external_id = models.CharField(max_length=200, blank=True)  # the id that the client's directory uses
    is_admin = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    # Rises when `is_active` changes and is part of the session hash, which ends earlier sessions.
    access_epoch = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = People()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("email"), name="user_email_once")]

    def __str__(self) -> str:
        return self.email

    def get_session_auth_hash(self) -> str:
        """Changes with `is_active` and `access_epoch`, so a session ends on deactivation and stays ended after activation."""
        epoch = f":{self.access_epoch}" if self.access_epoch else ""
        return digest_of(f"{self.id}:{self.is_active}{epoch}")

    def get_session_auth_fallback_hash(self) -> list[str]:
        return []

    @property
    def is_person(self) -> bool:
        return self.kind == self.Kind.PERSON

    def group_ids(self) -> models.QuerySet[Group, str]:
        """The ids of this principal's groups, as a subquery."""
        member = models.Q(pk__in=Membership.objects.filter(user=self).values("group"))
        built_in = {EVERYONE, ADMINS} if self.is_admin else {EVERYONE}
        return Group.objects.filter(member | models.Q(name__in=built_in)).values_list("pk", flat=True)


EVERYONE = "users"
ADMINS = "admins"


class Group(models.Model):
    """A named set of principals. Membership of the built-in groups `users` and `admins` is computed and not stored."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    name = models.CharField(max_length=200, unique=True)
    external_id = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("name"), name="group_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_built_in(self) -> bool:
        return self.name in (EVERYONE, ADMINS)

    @classmethod
    def built_in(cls, name: str) -> Group:
        """The group of everyone or of admins, which is made with the tables."""
        return cls.objects.get(name=name)


class Membership(models.Model):
    """A principal is in a group. Rows are written in bulk without signals; the group is saved after them, which raises the revision."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["group", "user"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_id}"


class SignInLink(models.Model):
    """A link that signs its person in once, until it expires."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_in_links")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.CharField(max_length=64, blank=True, db_default="")  # digest of the form that used it

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}"


class AccessToken(models.Model):
    """A bearer token for the API and the gateway. Its value is shown once and never stored."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    comment = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    # The admin who created it for its owner; None if the owner did.
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"access token {self.id}"
