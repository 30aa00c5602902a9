"""Reads what a client sent, within limits that keep a hostile body from costing more than a refusal."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeVar

from django.http import HttpRequest
from django.utils.translation import gettext as _
from pydantic import BaseModel, ValidationError

from serving_ui.api.errors import Refused
from serving_ui.catalogue.problems import SpecErrors, from_validation_error

LARGEST_BODY = 4 * 1024 * 1024
DEEPEST = 32
# NUL cannot be stored everywhere, and half of a surrogate pair is no text.
NO_TEXT = re.compile("[\x00\ud800-\udfff]")

Model = TypeVar("Model", bound=BaseModel)


def json_object(request: HttpRequest) -> dict[str, Any]:
    """The body as an object; an empty body is an empty object. Raises Refused."""
    length = str(request.META.get("CONTENT_LENGTH") or 0)
    if length.isascii() and length.isdigit() and int(length) > LARGEST_BODY:
        raise _too_large()
    raw = request.read(LARGEST_BODY + 1)
    if len(raw) > LARGEST_BODY:
        raise _too_large()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(_("The body is not valid JSON. Send a JSON object."), code="BAD_REQUEST") from None
    if not isinstance(body, dict):
        raise Refused(_("The body must be a JSON object, such as {}."))
    _refuse_the_unusable(body)
    return body


def read(model: type[Model], given: object) -> Model:
    """The body as one of the models of `bodies`. Raises SpecErrors."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems = from_validation_error(error)
    # Raised out here so that the pydantic error, which holds what was given, is no part of the traceback.
    raise SpecErrors(problems)


def has_no_text(value: str) -> bool:
    """Whether the value holds what cannot be stored or sent as text."""
    return NO_TEXT.search(value) is not None


def _too_large() -> Refused:
    return Refused(_("The body is larger than 4 MB. Send less at a time."))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse_the_unusable(body: dict[str, Any]) -> None:
    """Walks the body once, without recursion."""
    waiting: list[tuple[Any, int]] = [(body, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEEPEST:
            raise Refused(_("The body is nested too deeply. Check that it is what you meant to send."))
        if isinstance(part, dict):
            waiting.extend((name, depth) for name in part)
            waiting.extend((value, depth + 1) for value in part.values())
        elif isinstance(part, list):
            waiting.extend((value, depth + 1) for value in part)
        elif isinstance(part, str):
            if has_no_text(part):
                raise Refused(_("The body contains a character that is not valid text. Remove it."))
        elif isinstance(part, float) and not math.isfinite(part):
            raise Refused(_("The body contains a number that is too large. Give a smaller one."))
