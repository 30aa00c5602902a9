"""Lists of access tokens, changes of their comments, and what admins do with the tokens of others."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import AccessToken, User, is_named, new_id
from serving_ui.accounts.reports import report_token, token_state
from serving_ui.lib.refusal import NotFound


def usable(*, user: User, now: datetime) -> QuerySet[AccessToken]:
    """The principal's tokens that have not expired, newest first."""
    return user.access_tokens.filter(_not_expired(now)).order_by("-created_at", "-pk")


def own(*, token_id: str, user: User) -> AccessToken:
    """One of the principal's own tokens. Raises NotFound."""
    token = user.access_tokens.filter(pk=token_id).first()
    if token is None:
        raise _unknown(token_id)
    return token


def managed(
    *, actor: User, created_by_username: str = "", created_by_id: str = "", now: datetime
) -> QuerySet[AccessToken]:
    """All tokens that have not expired, newest first, or those that one principal created. For admins.

    `created_by_id` may be the beginning of an id.
    """
    found = _all_tokens(actor).filter(_not_expired(now))
    if created_by_username:
        found = found.filter(_created_by_name(created_by_username))
    if created_by_id:
        found = found.filter(_created_by_id_prefix(created_by_id))
    return found.order_by("-created_at", "-pk")


def managed_one(*, token_id: str, actor: User) -> AccessToken:
    """Any principal's token, for admins. Raises NotFound."""
    token = _all_tokens(actor).filter(pk=token_id).first()
    if token is None:
        raise _unknown(token_id)
    return token


def comment_on(*, token: AccessToken, comment: str, actor: User) -> AccessToken:
    """Replaces the comment of a token."""
    with transaction.atomic():
        before = token_state(token)
        token.comment = comment.strip()[:200]
        token.save(update_fields=["comment"])
        report_token("comment_on", token, actor=actor, before=before, after=token_state(token))
    return token


def create_on_behalf_of(
    *, application_id: str, comment: str, lifetime: timedelta | None, actor: User, now: datetime
) -> tuple[AccessToken, str]:
    """Returns a new token of a service principal and its value. For admins; people create their own tokens."""
    need_admin(actor)
    principal = User.objects.named(application_id)
    if principal is None or principal.kind != User.Kind.SERVICE_PRINCIPAL or not principal.is_active:
        raise NotFound(
            _("There is no active service principal with the application id %(id)s.") % {"id": application_id}
        )
    with transaction.atomic():
        return create_access_token(
            user=principal, comment=comment, lifetime=lifetime, now=now, created_by=actor
        )


def _not_expired(now: datetime) -> Q:
    return Q(expires_at=None) | Q(expires_at__gt=now)


def _all_tokens(actor: User) -> QuerySet[AccessToken]:
    need_admin(actor)
    return AccessToken.objects.select_related("user", "created_by")


def _created_by_name(name: str) -> Q:
    on_behalf, alone = is_named("created_by__email", name), is_named("user__email", name)
    return Q(on_behalf) | Q(alone, created_by=None)


def _created_by_id_prefix(start: str) -> Q:
    if len(start) > len(new_id()):
        return Q(pk__in=())
    return Q(created_by__pk__startswith=start) | Q(user__pk__startswith=start, created_by=None)


def _unknown(token_id: str) -> NotFound:
    return NotFound(
        _("There is no access token %(id)s. List the tokens to see their ids.") % {"id": token_id}
    )
