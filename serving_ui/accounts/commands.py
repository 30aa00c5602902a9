"""Every change of accounts: keyword-only, one transaction each. Prints and renders nothing."""

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
SECOND_CLICK = timedelta(minutes=1)  # so long after it was used, a link still works for the same form
FIRST_ADMIN = "admin@localhost.localdomain"
TOKEN_PREFIX = "sui_"  # noqa: S105 (lets scanners and people recognise a token)


class LinkInvalid(Refusal):
    """The sign-in link is unknown, used or too old."""


def ensure_user(*, email: str, admin: bool = False) -> User:
    """The person with this e-mail, made if missing; `admin` raises, and never lowers."""
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
    """Two commands may make the same person at once."""
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
    """A path that signs `user` in once: `/welcome/<43 characters>`. Raises Refusal for whoever is deactivated."""
    _need_active(user)
    value = secrets.token_urlsafe(32)
    with transaction.atomic():
        link = SignInLink.objects.create(digest=digest_of(value), user=user, expires_at=now + lifetime)
        report_link("create_sign_in_link", link, actor=None, before=None, after=link_state(link))
    return f"/welcome/{value}"


def first_sign_in_link(*, now: datetime) -> str | None:
    """A link for the first admin while no one has ever signed in, else None. Links made earlier keep working."""
    if User.objects.filter(last_login__isnull=False).exists():
        return None
    with transaction.atomic():
        return create_sign_in_link(user=_first_admin(), now=now)


def _first_admin() -> User:
    admins = User.objects.filter(is_admin=True, is_active=True)
    return admins.order_by("created_at").first() or ensure_user(email=FIRST_ADMIN, admin=True)


def redeem_sign_in_link(*, value: str, form: str = "", now: datetime) -> User:
    """The person whose link this is; the link works no second time. Raises LinkInvalid.

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
    # One statement on columns of the one row, so that of two racing clicks one wins. With a condition on the person it
    # would hold a subquery, which PostgreSQL does not ask again after it has waited for the winner.
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
        "This sign-in link has been used or is too old. Ask an admin for a new one, or make one at the server."
    )


def create_access_token(
    *,
    user: User,
    comment: str = "",
    lifetime: timedelta | None = None,
    now: datetime,
    created_by: User | None = None,
) -> tuple[AccessToken, str]:
    """A new token and its value, which is not kept anywhere. `created_by` is whoever makes it for somebody else.

    Raises Refusal for whoever is deactivated.
    """
    _need_active(user)
    value = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():  # the token, and that gateways are told of it
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
    """Ends one of `user`'s tokens; `actor` is the same person or an admin. Ending it twice is no error."""
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
