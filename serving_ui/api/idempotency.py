"""`Idempotency-Key` on a POST: a repeated request with the same key and body within a day gets the first reply; it is not executed again.

The change and its reply are committed in one transaction. Only successful replies are stored: a refused request may be corrected and
sent again with its key.
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

RETENTION = timedelta(days=1)
# The previous release reserved a key before it ran the request. A reservation that is older has died with its process.
RESERVATION_TIMEOUT = timedelta(minutes=5)
MAX_KEY_LENGTH = 255
MAX_DELETED_AT_ONCE = 100
REPLAYED_HEADER = "Idempotent-Replayed"


def once(
    *, key: str, user: User, request_content: object, now: datetime, perform: Callable[[], HttpResponse]
) -> HttpResponse:
    """The response of `perform`, or the stored reply. `request_content` is path, query and body. Raises Refusal.

    Must be called in the transaction of the change.
    """
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise Refusal(
            _("An Idempotency-Key must have 1 to 255 printable characters. Use a UUID, for example.")
        )
    if not _lock_key(key, user):
        raise _running()
    digest = _digest(request_content)
    if reply := _stored_reply(key=key, user=user, digest=digest, now=now):
        track(current_revision())  # the first request may have ended before every gateway served the change
        return reply
    response = perform()
    key_id, ciphertext = ciphers.ring().encrypt(response.content.decode())
    try:
        with transaction.atomic():
            IdempotentReply.objects.create(
                user=user, key=key, request_digest=digest, key_id=key_id, reply=ciphertext, created_at=now
            )
    except IntegrityError:
        if not IdempotentReply.objects.filter(user=user, key=key).exists():
            raise
        raise _running() from None  # a process of the previous release, which takes no such lock, stored its reply first
    return response


def _lock_key(key: str, user: User) -> bool:
    """Takes the key for this transaction. False if another transaction has it."""
    if connection.vendor != "postgresql":
        return True  # SQLite has one writer at a time anyway
    digest = hashlib.sha256(f"{user.pk} {key}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _stored_reply(*, key: str, user: User, digest: str, now: datetime) -> HttpResponse | None:
    """The reply to an earlier request with this key. Deletes some expired ones. Raises Refusal."""
    old = IdempotentReply.objects.select_for_update(skip_locked=True).filter(created_at__lt=now - RETENTION)
    IdempotentReply.objects.filter(
        pk__in=list(old.values_list("pk", flat=True)[:MAX_DELETED_AT_ONCE])
    ).delete()
    earlier = IdempotentReply.objects.filter(user=user, key=key).first()
    if earlier is None:
        return None
    if earlier.created_at < now - (RETENTION if earlier.reply else RESERVATION_TIMEOUT):
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
        content = ciphers.ring().decrypt(earlier.key_id, earlier.reply)
    except ciphers.CannotDecrypt:
        message = _("This request was executed before, but its stored answer can no longer be decrypted.")
        raise Conflict(message) from None
    return HttpResponse(content, content_type="application/json", headers={REPLAYED_HEADER: "true"})


def _running() -> Conflict:
    message = _(
        "The first request with this Idempotency-Key is still running. Wait a moment and send it again."
    )
    return Conflict(message, headers={"Retry-After": "1"})


def _digest(request_content: object) -> str:
    # An HMAC: the body may hold a secret, which could be guessed from a plain digest.
    text = json.dumps(request_content, sort_keys=True).encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()
