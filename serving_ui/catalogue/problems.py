"""Validation problems: a sentence with the path of the field.

Translates pydantic's errors into sentences. A sentence never contains the input, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from serving_ui.catalogue.limit_kinds import LIMIT_UNITS
from serving_ui.catalogue.translatable import TranslatableText, _

Path = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    path: Path
    message: TranslatableText
    code: str = "invalid"

    def under(self, *prefix: str | int) -> Problem:
        return Problem((*prefix, *self.path), self.message, self.code)


class SpecErrors(Exception):
    """The input is not valid. Every problem has a path and a sentence."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in self.problems))


def field_error(message: TranslatableText, code: str = "invalid") -> PydanticCustomError:
    """The error to raise in the validator of one field; pydantic adds the path."""
    return PydanticCustomError("problem", "{text}", {"text": message, "code": code})


def as_validation_error(problems: Iterable[Problem]) -> ValidationError:
    """The error to raise in a validator of several fields: keeps each path, and pydantic prepends the outer path."""
    return ValidationError.from_exception_data(
        "spec",
        [
            InitErrorDetails(
                type=field_error(problem.message, problem.code),
                loc=problem.path,
                input=None,
            )
            for problem in problems
        ],
        hide_input=True,
    )


def from_validation_error(error: ValidationError, labels: Mapping[str, str] | None = None) -> list[Problem]:
    """One Problem for each pydantic error."""
    details = error.errors(include_url=False, include_input=False)
    return [
        _from_detail(detail["loc"], detail["type"], detail.get("ctx", {}), labels or {}) for detail in details
    ]


def validated(validate: Callable[[object], T], body: object, *prefix: str) -> T:
    """The body, validated by pydantic. Raises SpecErrors with paths that start with `prefix`."""
    try:
        return validate(body)
    except ValidationError as error:
        problems = [problem.under(*prefix) for problem in from_validation_error(error)]
    # Raised outside of `except`, so that the pydantic error, which holds the body, is not part of the traceback.
    raise SpecErrors(problems)


def _from_detail(path: Path, kind: str, context: Mapping[str, Any], labels: Mapping[str, str]) -> Problem:
    if kind == "problem":
        return Problem(path, context["text"], context["code"])
    return Problem(path, sentence(kind, _label(path, labels), context), _CODES.get(kind, "invalid"))


def _label(path: Path, labels: Mapping[str, str]) -> str:
    """The label of the field: that of the last part of its path that is no list index."""
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return _("The body")
    return labels.get(names[-1]) or _LABELS.get(names[-1]) or names[-1]


def sentence(kind: str, label: str, context: Mapping[str, Any]) -> TranslatableText:
    """The sentence for pydantic's error type `kind`."""
    template = (
        _SENTENCES.get(kind) or _by_prefix(kind) or _("%(label)s is not valid. Check it and try again.")
    )
    return template.fill(label=label, **{name: _number(context[name]) for name in _LIMITS if name in context})


def _number(limit: Any) -> Any:
    return f"{limit:g}" if isinstance(limit, float) else limit


def _by_prefix(kind: str) -> TranslatableText | None:
    return next((template for prefix, template in _PREFIXES.items() if kind.startswith(prefix)), None)


_LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of", "expected")
_CODES = {"missing": "required"}
_NOT_TEXT = _("%(label)s must be text.")
_NOT_WHOLE = _("%(label)s must be a whole number.")
_NOT_LIST = _("%(label)s must be a list.")
_NOT_OBJECT = _("%(label)s must be an object.")
_SENTENCES: dict[str, TranslatableText] = {
    "missing": _("%(label)s is missing. Give it and try again."),
    "string_unicode": _("%(label)s contains characters that are not valid text."),
    "string_too_short": _("%(label)s must have at least %(min_length)s characters."),
    "string_too_long": _("%(label)s can have at most %(max_length)s characters."),
    "too_short": _("%(label)s must have at least %(min_length)s items."),
    "too_long": _("%(label)s can have at most %(max_length)s items."),
    "greater_than_equal": _("%(label)s must be %(ge)s or more."),
    "greater_than": _("%(label)s must be more than %(gt)s."),
    "less_than_equal": _("%(label)s must be %(le)s or less."),
    "less_than": _("%(label)s must be less than %(lt)s."),
    "multiple_of": _("%(label)s must be a multiple of %(multiple_of)s."),
    "literal_error": _("%(label)s must be one of: %(expected)s."),
    "enum": _("%(label)s must be one of: %(expected)s."),
    "finite_number": _("%(label)s must be a number."),
}
_PREFIXES: dict[str, TranslatableText] = {
    "string_": _NOT_TEXT,
    "int_": _NOT_WHOLE,
    "float_": _("%(label)s must be a number."),
    "bool_": _("%(label)s must be true or false."),
    "list_": _NOT_LIST,
    "tuple_": _NOT_LIST,
    "dict_": _NOT_OBJECT,
    "mapping_": _NOT_OBJECT,
    "model_": _NOT_OBJECT,
    "url_": _("%(label)s must be an address such as https://example.com/v1."),
    "none_": _("%(label)s must be left out."),
    "recursion_": _("%(label)s is nested too deeply."),
}
_LABELS: dict[str, TranslatableText] = {
    "name": _("Name"),
    "description": _("Description"),
    "config": _("Config"),
    "served_entities": _("Served entities"),
    "external_model": _("External model"),
    "entity_name": _("Model"),
    "entity_version": _("Version"),
    "provider": _("Provider"),
    "task": _("Task"),
    "traffic_config": _("Traffic"),
    "routes": _("Routes"),
    "served_entity_name": _("Served entity name"),
    "traffic_percentage": _("Traffic (%)"),
    "rate_limits": _("Rate limits"),
    **{name: unit.label for name, unit in LIMIT_UNITS.items()},
    "principal": _("Principal"),
    "connect_seconds": _("The time to connect"),
    "first_byte_seconds": _("The time to the first byte"),
    "total_seconds": _("The time for the whole answer"),
    "renewal_period": _("Renewal period"),
    "tags": _("Tags"),
    "key": _("Key"),
    "value": _("Value"),
}
