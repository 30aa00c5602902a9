"""Users made at the command line, sign-in links and access tokens. Each command is atomic and reports its change (`lib.changes`).

What an admin changes is in `directory` and `tokens`.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.models import AccessToken, SignInLink, User, digest_of
from serving_ui.accounts.reports import (
    link_state,
    principal_state,
    report_link,
    report_principal,
    report_token,
    token_state,
)
from serving_ui.lib.refusal import Refusal

LINK_LIFETIME = timedelta(hours=24)
SECOND_CLICK = timedelta(minutes=1)  # within this time the same form may use its link again: a double click
FIRST_ADMIN = "admin@localhost.localdomain"
TOKEN_PREFIX = "sui_"  # noqa: S105 (lets scanners and people recognise a token)


class LinkInvalid(Refusal):
    """The sign-in link is unknown, used or too old."""


def ensure_user(*, email: str, admin: bool = False) -> User:
    """Returns the user with this e-mail and creates one if there is none. `admin` makes the user an admin; False changes nothing."""
    email = email.strip()
    try:
        validate_email(email)
    except ValidationError:
        raise Refusal(_("%(email)s is not an e-mail address.") % {"email": email}) from None
    with transaction.atomic():
        user = User.objects.named(email) or _new_user(email, admin=admin)
        if admin and not user.is_admin:
            before = principal_state(user)
            user.is_admin = True
            user.save(update_fields=["is_admin"])
            report_principal("ensure_user", user, actor=None, before=before, after=principal_state(user))
    return user


def _new_user(email: str, *, admin: bool) -> User:
    """Creates the user, or returns the one that a concurrent command created. Raises IntegrityError for anything else."""
    try:
        with transaction.atomic():
            user = User.objects.create(email=email, is_admin=admin)
            report_principal("ensure_user", user, actor=None, before=None, after=principal_state(user))
            return user
    except IntegrityError:
        if found := User.objects.named(email):
            return found
        raise


def create_sign_in_link(*, user: User, now: datetime, lifetime: timedelta = LINK_LIFETIME) -> str:
    """Returns a path that signs `user` in once: `/welcome/<43 characters>`. Raises Refusal if the user is deactivated."""
    _need_active(user)
    value = secrets.token_urlsafe(32)
    with transaction.atomic():
        link = SignInLink.objects.create(digest=digest_of(value), user=user, expires_at=now + lifetime)
        report_link("create_sign_in_link", link, actor=None, before=None, after=link_state(link))
    return f"/welcome/{value}"


def first_sign_in_link(*, now: datetime) -> str | None:
    """Returns a link for the first admin while no user has ever signed in, else None. Earlier links stay valid."""
    if User.objects.filter(last_login__isnull=False).exists():
        return None
    with transaction.atomic():
        return create_sign_in_link(user=_first_admin(), now=now)


def _first_admin() -> User:
    admins = User.objects.filter(is_admin=True, is_active=True)
    return admins.order_by("created_at").first() or ensure_user(email=FIRST_ADMIN, admin=True)


def redeem_sign_in_link(*, value: str, form: str = "", now: datetime) -> User:
    """Uses up the link and returns its user. Raises LinkInvalid if it is unknown, used or expired.

    `form` is the id of the form whose button was pressed: a button that is pressed twice has used the link once, and the
    browser takes only the last answer.
    """
    link = (
        SignInLink.objects.select_related("user")
        .filter(digest=digest_of(value), user__is_active=True)
        .first()
    )
    if link is None:
        raise LinkInvalid(link_invalid())
    used_by = digest_of(form) if form else ""
    # Of two concurrent requests exactly one may update the row. The condition names columns of this row only: a condition on
    # the user would be a subquery, which PostgreSQL does not evaluate again after it has waited for the row's lock.
    row = SignInLink.objects.filter(pk=link.pk)
    with transaction.atomic():
        if row.filter(used_at=None, expires_at__gt=now).update(used_at=now, used_by=used_by):
            before = link_state(link)
            link.used_at = now
            report_link("redeem_sign_in_link", link, actor=link.user, before=before, after=link_state(link))
            return link.user
    again = row.filter(used_by=used_by, used_at__gt=now - SECOND_CLICK)
    if not (used_by and again.exists()):
        raise LinkInvalid(link_invalid())
    return link.user


def link_invalid() -> str:
    """The sentence for a link that does not work, whatever the reason."""
    return _(
        "This sign-in link has been used or has expired. Ask an admin for a new one, or create one on the server."
    )


def create_access_token(
    *,
    user: User,
    comment: str = "",
    lifetime: timedelta | None = None,
    now: datetime,
    created_by: User | None = None,
) -> tuple[AccessToken, str]:
    """Returns a new token and its value, of which only a digest is stored. `created_by` is the admin who creates it for `user`.

    Raises Refusal if `user` is deactivated.
    """
    _need_active(user)
    value = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():  # a signal of the row raises the revision that gateways follow
        token = AccessToken.objects.create(
            user=user,
            comment=comment.strip()[:200],
            digest=digest_of(value),
            created_at=now,
            created_by=created_by,
            expires_at=now + lifetime if lifetime else None,
        )
        actor = created_by or user
        report_token("create_access_token", token, actor=actor, before=None, after=token_state(token))
    return token, value


def revoke_access_token(*, user: User, token_id: str, actor: User) -> None:
    """Deletes one of `user`'s tokens, if it is there. `actor` is the user or an admin."""
    with transaction.atomic():
        token = (
            AccessToken.objects.select_related("user", "created_by").filter(user=user, pk=token_id).first()
        )
        if token:
            report_token("revoke_access_token", token, actor=actor, before=token_state(token), after=None)
            token.delete()


def _need_active(user: User) -> None:
    if not user.is_active:
        raise Refusal(
            _("%(name)s is deactivated. An admin must set active to true first.") % {"name": user.email}
        )
