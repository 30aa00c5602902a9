"""The kinds of rate limits, as two tables: whom a limit is for (`LIMIT_KEYS`) and what it counts (`LIMIT_UNITS`).

API, forms, pages, metrics, the domain and the gateway derive from these tables: a new kind is one more row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from serving_ui.catalogue.translatable import TranslatableText, _

RENEWAL_PERIOD = "minute"
"""The window of every limit, as the API names it."""


@dataclass(frozen=True, kw_only=True)
class LimitKey:
    """Whom a limit is for. Sentences for pages are translatable; those of the gateway's refusals are English, as its answers are."""

    label: TranslatableText
    """The choice in the form."""
    principal_kind: Literal["principal", "group"] | None
    """What the limit's `principal` names; None if the limit takes none."""
    needs_principal: bool = False
    only_service_principals: bool = False
    """Whether calls of people are not counted."""
    unknown_principal: TranslatableText | None = None
    """The problem with a `principal` that does not exist; %(name)s is its name."""
    own_input: TranslatableText | None = None
    """The label of the input that the form has for calls of this key without a principal, if it has one."""
    of_each: TranslatableText | None = None
    """On a page, for a limit without a principal; None where it is for the whole endpoint."""
    of_one: TranslatableText | None = None
    """On a page, for a limit with a principal, %(name)s."""
    refused_each: str = "for each user of this endpoint"
    """In a refusal, for a limit without a principal."""
    refused_one: str = "for {name} at this endpoint"


@dataclass(frozen=True, kw_only=True)
class LimitUnit:
    """What a limit counts. Its name is the API's field and, in refusals, the plural of the thing counted."""

    label: TranslatableText
    """In a form and in problems."""
    amount: TranslatableText
    """On a page; %(most)s is the limit."""
    metric_help: TranslatableText
    singular: str
    """In refusals."""


LIMIT_KEYS: Mapping[str, LimitKey] = MappingProxyType(
    {
        "endpoint": LimitKey(
            label=_("Whole endpoint"),
            principal_kind=None,
            own_input=_("Calls per minute, whole endpoint"),
            refused_each="of this endpoint",
        ),
        "user": LimitKey(
            label=_("User"),
            principal_kind="principal",
            unknown_principal=_(
                "Nobody here has the e-mail %(name)s. Give one of a person who has signed in or was added."
            ),
            own_input=_("Calls per minute, each user"),
            of_each=_("for each user"),
            of_one=_("for %(name)s"),
        ),
        "user_group": LimitKey(
            label=_("Group"),
            principal_kind="group",
            needs_principal=True,
            unknown_principal=_("There is no group %(name)s here. Give the name of one that there is."),
            of_one=_("for the group %(name)s together"),
            refused_one="for the group {name} at this endpoint",
        ),
        "service_principal": LimitKey(
            label=_("Service principal"),
            principal_kind="principal",
            only_service_principals=True,
            unknown_principal=_("There is no service principal %(name)s here. Give its application id."),
            of_each=_("for each service principal"),
            of_one=_("for %(name)s"),
        ),
    }
)

LIMIT_UNITS: Mapping[str, LimitUnit] = MappingProxyType(
    {
        "calls": LimitUnit(
            label=_("Calls per minute"),
            amount=_("%(most)s a minute"),
            metric_help=_("Calls admitted a minute."),
            singular="call",
        ),
        "tokens": LimitUnit(
            label=_("Tokens per minute"),
            amount=_("%(most)s tokens a minute"),
            metric_help=_("Tokens admitted a minute."),
            singular="token",
        ),
    }
)
