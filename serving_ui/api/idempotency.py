"""`Idempotency-Key` on a POST: the same key and body within a day are answered as the first time, and nothing is done again.

What was done and its reply are committed together, so that no failure can come between the two. Only what succeeded is kept:
a refused request may be put right and sent again under its key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.api.models import IdempotentReply
from serving_ui.lib.refusal import Conflict, Refusal
from serving_ui.revisions.changes import current_revision, track
from serving_ui.vault import ciphers

KEPT = timedelta(days=1)
# The version before this one reserved a key before it began. What has no reply by then has died with its process.
LONGEST_RUN = timedelta(minutes=5)
LONGEST_KEY = 255
MOST_TIDIED = 100
REPLAYED = "Idempotent-Replayed"


def once(
    *, key: str, user: User, asked: object, now: datetime, perform: Callable[[], HttpResponse]
) -> HttpResponse:
    """What `perform` answers, or answered the first time. `asked` is what was asked for, body and address. Raises Refusal.

    Must be called in the transaction of what `perform` changes.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise Refusal(_("An Idempotency-Key has 1 to 255 printable characters. A UUID is a good one."))
    if not _is_alone(key, user):
        raise _running()
    digest = _digest(asked)
    if kept := _kept(key=key, user=user, digest=digest, now=now):
        track(current_revision())  # whoever asks again may not have waited for it the first time
        return kept
    response = perform()
    key_id, reply = ciphers.ring().seal(response.content.decode())
    try:
        with transaction.atomic():
            IdempotentReply.objects.create(
                user=user, key=key, request_digest=digest, key_id=key_id, reply=reply, created_at=now
            )
    except IntegrityError:
        if not IdempotentReply.objects.filter(user=user, key=key).exists():
            raise
        raise _running() from None  # a process of the version before, which knows no such lock, was quicker
    return response


def _is_alone(key: str, user: User) -> bool:
    """Whether no other transaction carries out a request of this key; none begins before this one ends."""
    if connection.vendor != "postgresql":
        return True  # SQLite has one writer at a time
    digest = hashlib.sha256(f"{user.pk} {key}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _kept(*, key: str, user: User, digest: str, now: datetime) -> HttpResponse | None:
    """The reply that is kept. Raises Refusal."""
    old = IdempotentReply.objects.select_for_update(skip_locked=True).filter(created_at__lt=now - KEPT)
    IdempotentReply.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:MOST_TIDIED])).delete()
    earlier = IdempotentReply.objects.filter(user=user, key=key).first()
    if earlier is None:
        return None
    if earlier.created_at < now - (KEPT if earlier.reply else LONGEST_RUN):
        earlier.delete()
        return None
    if not hmac.compare_digest(earlier.request_digest, digest):
        raise Refusal(
            _(
                "This Idempotency-Key was used for another request within the last day. Use a new one for each."
            )
        )
    return _replayed(earlier)


def _replayed(earlier: IdempotentReply) -> HttpResponse:
    if not earlier.reply:
        raise _running()
    try:
        content = ciphers.ring().open(earlier.key_id, earlier.reply)
    except ciphers.Unreadable:
        message = _("This request was carried out before, and its answer cannot be read any more.")
        raise Conflict(message) from None
    return HttpResponse(content, content_type="application/json", headers={REPLAYED: "true"})


def _running() -> Conflict:
    message = _("The first request with this Idempotency-Key still runs. Wait a moment and send it again.")
    return Conflict(message, headers={"Retry-After": "1"})


def _digest(asked: object) -> str:
    # Keyed, because the body may hold a secret that a bare digest would let someone guess.
    spelled = json.dumps(asked, sort_keys=True).encode()
    return hmac.new(settings.SECRET_KEY.encode(), spelled, hashlib.sha256).hexdigest()
