"""Exceptions for refused requests, with REST error code and HTTP status. Pages and API catch `Refusal`; `api/errors.py` writes it as JSON.

Refusal                 400  INVALID_PARAMETER_VALUE
├── NotAllowed          403  PERMISSION_DENIED         also Django's PermissionDenied, for which a page answers 403
├── NotFound            404  RESOURCE_DOES_NOT_EXIST   also Django's Http404; also raised for objects that the person may not see
├── AlreadyExists       409  RESOURCE_ALREADY_EXISTS
└── Conflict            409  RESOURCE_CONFLICT         the state of a resource does not allow the change

A domain subclasses one of these only where a caller handles one reason differently. `catalogue.problems.SpecErrors`, which does
not depend on Django, reports several invalid fields of a body at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import PermissionDenied
from django.http import Http404


class Refusal(Exception):
    """The request is refused. The text is a sentence for a person, in the language of the request."""

    code = "INVALID_PARAMETER_VALUE"
    status = 400

    def __init__(
        self,
        sentence: str,
        *,
        field: str = "",
        code: str = "",
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`field` names the input that is wrong; `code` and `status` replace those of the class."""
        super().__init__(sentence)
        self.field = field
        self.code = code or type(self).code
        self.status = status or type(self).status
        self.headers = dict(headers or {})


class NotAllowed(Refusal, PermissionDenied):
    code, status = "PERMISSION_DENIED", 403


class NotFound(Refusal, Http404):
    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class AlreadyExists(Refusal):
    code, status = "RESOURCE_ALREADY_EXISTS", 409


class Conflict(Refusal):
    code, status = "RESOURCE_CONFLICT", 409
