"""The list `warnings` of an answer: fields of the body that were accepted and have no effect."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from serving_ui.api.request import ApiRequest
from serving_ui.catalogue.endpoint_settings import EmailNotifications


def warn_of_unknown_fields(request: ApiRequest, paths: Iterable[str]) -> None:
    """Fields that this server does not know. They are accepted, because Databricks accepts them."""
    for path in paths:
        request.warn(_("%(field)s is unknown and has no effect.") % {"field": path})


def warn_of_unsent_email(request: ApiRequest, notifications: EmailNotifications | None) -> None:
    """Addresses are stored, and no e-mail is sent."""
    if notifications and any(notifications.stored().values()):
        request.warn(_("email_notifications is stored, but this version sends no e-mail."))


def warn_of_ineffective_fields(request: ApiRequest, paths: Iterable[str]) -> None:
    """Settings that are stored and returned, but have no effect in this version."""
    for path in paths:
        request.warn(_("%(field)s is stored, but has no effect in this version.") % {"field": path})
