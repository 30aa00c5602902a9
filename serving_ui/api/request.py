"""A request as views see it, and its body. The limits on the size of address and body are enforced before Django: `lib.request`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest
from django.utils.translation import gettext as _
from pydantic import BaseModel, ValidationError

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors, from_validation_error
from serving_ui.lib import json_text
from serving_ui.lib.json_text import JsonInvalid
from serving_ui.lib.refusal import Refusal
from serving_ui.lib.request import has_unstorable_characters

Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class ApiRequest(HttpRequest):
    """An authenticated request. `http` adds these attributes to Django's request; the class exists for the type checker."""

    user: User
    json: Json
    warnings: list[str]
    warn: Callable[[str], None]


def json_object(request: HttpRequest) -> Json:
    """The body as an object; an empty body is an empty object. Raises Refusal."""
    raw = request.read()
    if not raw.strip():
        return {}
    try:
        body = json_text.read(raw, json_text.REQUEST_BOUNDS)
    except JsonInvalid as problem:
        sentence = _("The body cannot be used. %(why)s Send a JSON object.")
        raise Refusal(sentence % {"why": problem}, code="BAD_REQUEST") from None
    if not isinstance(body, dict):
        raise Refusal(_("The body must be a JSON object, such as {}."))
    _refuse_invalid_text(body)
    return body


def read_body(model: type[Model], content: object) -> Model:
    """The body as a pydantic model. Raises SpecErrors."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = from_validation_error(error)
    # Raised outside of `except`, so that the pydantic error, which holds the body, is not part of the traceback.
    raise SpecErrors(problems)


def _refuse_invalid_text(body: dict[str, Any]) -> None:
    """Walks the body once, without recursion."""
    waiting: list[Any] = [body]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str) and has_unstorable_characters(part):
            raise Refusal(_("The body contains a character that is not valid text. Remove it."))
