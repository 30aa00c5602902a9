"""Access tokens beyond making and ending one's own: naming them again, and what admins do with everybody's."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import AccessToken, User
from serving_ui.accounts.refusals import NotFound


def usable(*, user: User, now: datetime) -> list[AccessToken]:
    """The principal's own tokens that still work, newest first."""
    return list(user.access_tokens.filter(_still(now)).order_by("-created_at"))


def own(*, token_id: str, user: User) -> AccessToken:
    """One of the principal's own tokens. Raises NotFound."""
    token = user.access_tokens.filter(pk=token_id).first()
    if token is None:
        raise _unknown(token_id)
    return token


def managed(
    *, actor: User, created_by_username: str = "", created_by_id: str = "", now: datetime
) -> list[AccessToken]:
    """Everybody's tokens that still work, newest first, or those that one principal made. For admins.

    `created_by_id` may be the beginning of an id.
    """
    found = _of_everybody(actor).filter(_still(now))
    if created_by_username:
        found = found.filter(_made_by("email__iexact", created_by_username.strip()))
    if created_by_id:
        found = found.filter(_made_by("pk__startswith", created_by_id))
    return list(found.order_by("-created_at"))


def managed_one(*, token_id: str, actor: User) -> AccessToken:
    """Anybody's token. For admins. Raises NotFound."""
    token = _of_everybody(actor).filter(pk=token_id).first()
    if token is None:
        raise _unknown(token_id)
    return token


def comment_on(*, token: AccessToken, comment: str) -> AccessToken:
    """Says anew what a token is for."""
    token.comment = comment.strip()[:200]
    token.save(update_fields=["comment"])
    return token


def create_on_behalf_of(
    *, application_id: str, comment: str, lifetime: timedelta | None, actor: User, now: datetime
) -> tuple[AccessToken, str]:
    """A token for a service principal, and its value. For admins: persons make their own."""
    need_admin(actor)
    principal = User.objects.filter(
        kind=User.Kind.SERVICE_PRINCIPAL, email__iexact=application_id, is_active=True
    ).first()
    if principal is None:
        raise NotFound(
            _("There is no active service principal with the application id %(id)s.") % {"id": application_id}
        )
    with transaction.atomic():
        return create_access_token(
            user=principal, comment=comment, lifetime=lifetime, now=now, created_by=actor
        )


def _still(now: datetime) -> Q:
    return Q(expires_at=None) | Q(expires_at__gt=now)


def _of_everybody(actor: User) -> QuerySet[AccessToken]:
    need_admin(actor)
    return AccessToken.objects.select_related("user", "created_by")


def _made_by(lookup: str, value: str) -> Q:
    return Q(**{f"created_by__{lookup}": value}) | Q(**{f"user__{lookup}": value, "created_by": None})


def _unknown(token_id: str) -> NotFound:
    return NotFound(
        _("There is no access token %(id)s. List the tokens to see which there are.") % {"id": token_id}
    )
