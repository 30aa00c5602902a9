"""What an answer warns of: it was done, but not all that was given has an effect."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from serving_ui.api.http import ApiRequest
from serving_ui.catalogue.endpoint_settings import EmailNotifications


def warn_of_unknown_fields(request: ApiRequest, paths: Iterable[str]) -> None:
    """Names fields that are not known here: accepted, as the original accepts them, so that nobody is misled."""
    for path in paths:
        request.warn(_("%(field)s is not known here and has no effect.") % {"field": path})


def warn_of_unsent_email(request: ApiRequest, notifications: EmailNotifications | None) -> None:
    """Says that nobody is written to, when somebody was named."""
    if notifications and any(notifications.stored().values()):
        request.warn(_("email_notifications is kept and shown, but this version sends no e-mail."))


def warn_of_ineffective_fields(request: ApiRequest, paths: Iterable[str]) -> None:
    """Names settings that are kept and shown and that this version does not carry out."""
    for path in paths:
        request.warn(_("%(field)s is kept, but this version does not carry it out.") % {"field": path})
