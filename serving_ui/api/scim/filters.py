"""SCIM filters (RFC 7644 section 3.4.2.2) as conditions of the ORM.

Supported is what clients send: comparisons joined by `and` and `or` (`and` binds tighter), without brackets and `not`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from serving_ui.lib import json_text
from serving_ui.lib.refusal import Refusal
from serving_ui.lib.request import has_unstorable_characters

# SCIM attribute in lower case → column.
USER_COLUMNS = {
    "id": "pk",
    "username": "email",
    "applicationid": "email",
    "emails": "email",
    "emails.value": "email",
    "displayname": "name",
    "externalid": "external_id",
    "active": "is_active",
}
GROUP_COLUMNS = {"id": "pk", "displayname": "name", "externalid": "external_id"}
LOOKUPS = {
    "eq": "iexact",
    "ne": "iexact",
    "co": "icontains",
    "sw": "istartswith",
    "ew": "iendswith",
}
COMPARISON = re.compile(
    r'\s*([\w.]+)\s+(\w+)(?:\s+("(?:[^"\\]|\\.)*"|true|false))?\s*', re.IGNORECASE
)  # attribute, operator, value
CONJUNCTION = re.compile(r"(and|or)\s", re.IGNORECASE)
MAX_FILTER_LENGTH = 2000


def parse_filter(text: str, columns: Mapping[str, str]) -> Q:
    """The condition of a filter; an empty filter matches every row. Raises Refusal."""
    if not text.strip():
        return Q()
    if len(text) > MAX_FILTER_LENGTH:
        raise _invalid_filter()
    any_of, all_of, position = Q(pk__in=[]), Q(), 0
    while True:
        comparison = COMPARISON.match(text, position)
        if comparison is None:
            raise _invalid_filter()
        attribute, operator, literal = comparison.groups()
        all_of, position = all_of & _condition(attribute, operator, literal, columns), comparison.end()
        if position == len(text):
            return any_of | all_of
        conjunction = CONJUNCTION.match(text, position)
        if conjunction is None:
            raise _invalid_filter()
        if conjunction.group(1).lower() == "or":
            any_of, all_of = any_of | all_of, Q()
        position = conjunction.end()


def _condition(attribute: str, operator: str, literal: str | None, columns: Mapping[str, str]) -> Q:
    column = columns.get(attribute.lower())
    operator = operator.lower()
    if column is None:
        raise Refusal(
            _("filter does not support %(attribute)s. Use one of: %(known)s.")
            % {"attribute": attribute[:100], "known": ", ".join(sorted(columns))}
        )
    if operator == "pr" and literal is None:
        return Q() if column in ("pk", "is_active") else ~Q(**{column: ""})
    if operator not in LOOKUPS or literal is None:
        raise _invalid_filter()
    value = _value(literal)
    if (column == "is_active") != isinstance(value, bool):
        raise _invalid_filter()
    lookup = column if isinstance(value, bool) else f"{column}__{LOOKUPS[operator]}"
    condition = Q(**{lookup: value})
    return ~condition if operator == "ne" else condition


def _value(literal: str) -> str | bool:
    try:
        value: Any = json_text.read((literal if literal.startswith('"') else literal.lower()).encode())
    except ValueError:
        raise _invalid_filter() from None
    if isinstance(value, str) and has_unstorable_characters(value):
        raise _invalid_filter()
    return bool(value) if isinstance(value, bool) else str(value)


def _invalid_filter() -> Refusal:
    return Refusal(
        _('filter cannot be read. Write it like userName eq "a@example.com", joined by and or by or.')
    )
