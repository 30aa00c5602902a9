"""`Idempotency-Key` on a POST: the same key and body within a day are answered as the first time, and nothing is done again.

Only what succeeded is kept, so that a refused request may be put right and sent again under its key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.api.errors import Refused
from serving_ui.api.models import IdempotentReply
from serving_ui.vault import ciphers

KEPT = timedelta(days=1)
# A request that has not been answered by then has died with its process.
LONGEST_RUN = timedelta(minutes=5)
LONGEST_KEY = 255
REPLAYED = "Idempotent-Replayed"


def once(
    *, key: str, user: User, asked: object, now: datetime, perform: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    """What `perform` answers, or answered the first time. `asked` is what was asked for, body and address. Raises Refused."""
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise Refused(_("An Idempotency-Key has 1 to 255 printable characters. A UUID is a good one."))
    found = _reserved(key=key, user=user, digest=_digest(asked), now=now)
    if isinstance(found, HttpResponse):
        return found
    try:
        response = perform()
    except BaseException:
        found.delete()
        raise
    if isinstance(response, HttpResponse) and response.status_code == 200:
        found.key_id, found.reply = ciphers.ring().seal(response.content.decode())
        found.save(update_fields=["key_id", "reply"])
    else:
        found.delete()
    return response


def _reserved(*, key: str, user: User, digest: str, now: datetime) -> IdempotentReply | HttpResponse:
    """A row of our own to keep the reply in, or the reply that is kept."""
    IdempotentReply.objects.filter(created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentReply.objects.create(user=user, key=key, request_digest=digest, created_at=now)
    except IntegrityError:
        earlier = IdempotentReply.objects.filter(user=user, key=key).first()
    if earlier is None:  # it was refused in this very moment
        raise _running()
    if not hmac.compare_digest(earlier.request_digest, digest):
        raise Refused(
            _(
                "This Idempotency-Key was used for another request within the last day. Use a new one for each."
            )
        )
    return _replayed(earlier) if earlier.reply else _taken_over(earlier, now)


def _replayed(earlier: IdempotentReply) -> HttpResponse:
    try:
        content = ciphers.ring().open(earlier.key_id, earlier.reply)
    except ciphers.Unreadable:
        message = _("This request was carried out before, and its answer cannot be read any more.")
        raise Refused(message, code="RESOURCE_CONFLICT", status=409) from None
    return HttpResponse(content, content_type="application/json", headers={REPLAYED: "true"})


def _taken_over(earlier: IdempotentReply, now: datetime) -> IdempotentReply:
    """The row of a request whose process died. Of several who try, one gets it."""
    mine = IdempotentReply.objects.filter(
        pk=earlier.pk, reply="", created_at=earlier.created_at, created_at__lt=now - LONGEST_RUN
    )
    if not mine.update(created_at=now):
        raise _running()
    return earlier


def _running() -> Refused:
    message = _("The first request with this Idempotency-Key still runs. Wait a moment and send it again.")
    return Refused(message, code="RESOURCE_CONFLICT", status=409, headers={"Retry-After": "1"})


def _digest(asked: object) -> str:
    # Keyed, because the body may hold a secret that a bare digest would let someone guess.
    spelled = json.dumps(asked, sort_keys=True).encode()
    return hmac.new(settings.SECRET_KEY.encode(), spelled, hashlib.sha256).hexdigest()
