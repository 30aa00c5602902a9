"""Errors in the JSON format of the Databricks API: `error_code`, `message` and, for invalid fields, `details`.

Only these statuses, because clients repeat some others without end: 400, 401, 403, 404, 409, 429, 500, 501 and 503.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.lib.refusal import Refusal
from serving_ui.revisions.in_force import OutcomeUnknown

MAX_DETAILS = 50
log = logging.getLogger(__name__)


def reply(
    status: int,
    code: str,
    message: str,
    *,
    details: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JsonResponse:
    """An error as JSON."""
    body: dict[str, Any] = {"error_code": code, "message": message}
    if details:
        body["details"] = list(details)
    return JsonResponse(body, status=status, headers=dict(headers or {}))


def reply_to(error: Exception) -> JsonResponse:
    """The response for an exception that was raised while a request was handled."""
    if isinstance(error, SpecErrors):
        return _fields_refused(error.problems)
    if isinstance(error, Refusal):
        details = [{"field": error.field, "message": str(error)}] if error.field else []
        return reply(error.status, error.code, str(error), details=details, headers=error.headers)
    if isinstance(error, OperationalError | InterfaceError):
        return _database_unreachable(error)
    log.error("A request of the API failed.", exc_info=error)
    message = _("Serving UI failed (%(kind)s). Ask an admin to look at the log.")
    return reply(500, "INTERNAL_ERROR", message % {"kind": type(error).__name__})


def _database_unreachable(error: OperationalError | InterfaceError) -> JsonResponse:
    log.warning("The database did not answer: %s", error)
    if isinstance(error, OutcomeUnknown):
        message = _(
            "The connection to the database was lost while the change was being saved, so it may or may not have been saved. Check "
            "before you repeat the request. A request with an Idempotency-Key can be repeated; it is not executed twice."
        )
    else:
        message = _("The database did not answer. Wait a moment and send the request again.")
    return reply(503, "TEMPORARILY_UNAVAILABLE", message, headers={"Retry-After": "1"})


def _fields_refused(problems: Sequence[Problem]) -> JsonResponse:
    """400 with a sentence for each field, named by its path as in `config.served_entities[0].name`."""
    details = [
        {"field": path_text(problem.path), "message": problem.message.translated(_)}
        for problem in problems[:MAX_DETAILS]
    ]
    sentences = [
        f"{detail['field']}: {detail['message']}" if detail["field"] else detail["message"]
        for detail in details
    ]
    return reply(400, "INVALID_PARAMETER_VALUE", " ".join(sentences), details=details)


def path_text(path: Sequence[str | int]) -> str:
    """`config.served_entities[0].name`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 of Django itself, such as for a host name that is not allowed."""
    message = _(
        "The request cannot be read. Use the address under which the pages are opened, and plain HTTP."
    )
    return reply(400, "BAD_REQUEST", message)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 of Django itself."""
    return reply(403, "PERMISSION_DENIED", _("Nobody may use this address."))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404 for an address that the API does not have."""
    message = _("The API has no path %(path)s. /docs/api lists the paths that exist.")
    return reply(404, "ENDPOINT_NOT_FOUND", message % {"path": request.path[:300]})


def server_error(request: HttpRequest) -> HttpResponse:
    """500 for an error outside of the views."""
    return reply(500, "INTERNAL_ERROR", _("Serving UI failed. Ask an admin to look at the log."))
