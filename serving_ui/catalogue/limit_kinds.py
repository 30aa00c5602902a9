"""The kinds of rate limits, as two tables: whose calls a limit counts (`LIMIT_KEYS`) and in which unit (`LIMIT_UNITS`).

API, forms, pages, metrics, the domain and the gateway use these tables: a new kind is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from serving_ui.catalogue.translatable import TranslatableText, _

RENEWAL_PERIOD = "minute"
"""The window of every limit; the value in the API. Its length is `gateway.windows.WINDOW_NS`."""


@dataclass(frozen=True, kw_only=True)
class LimitKey:
    """Whose calls a limit counts. Texts of pages are translatable; texts of the gateway's error messages are English."""

    label: TranslatableText
    """The label of the choice in the form."""
    principal_kind: Literal["principal", "group"] | None
    """What the limit's `principal` is; None if the limit has no `principal`."""
    needs_principal: bool = False
    only_service_principals: bool = False
    """Whether only calls of service principals are counted, not those of people."""
    unknown_principal: TranslatableText | None = None
    """The message if the `principal` does not exist; %(name)s is the `principal`."""
    own_input: TranslatableText | None = None
    """The label of the form's separate input for a limit of calls without `principal`, if it has one."""
    of_each: TranslatableText | None = None
    """Text on pages for a limit without `principal`; None if it is for the whole endpoint."""
    of_one: TranslatableText | None = None
    """Text on pages for a limit with the `principal` %(name)s."""
    refused_each: str = "for each user of this endpoint"
    """Text in error messages for a limit without `principal`; `refused_one` for one with it."""
    refused_one: str = "for {name} at this endpoint"


@dataclass(frozen=True, kw_only=True)
class LimitUnit:
    """The unit that a limit counts. Its key in LIMIT_UNITS is the field of the API and the plural in error messages."""

    label: TranslatableText
    """The label in forms and error messages."""
    amount: TranslatableText
    """Text on pages; %(limit)s is the limit."""
    metric_help: TranslatableText
    singular: str
    """The singular in error messages."""


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
                "There is no user with the e-mail %(name)s. Give the e-mail of somebody who has signed in or was added with the API."
            ),
            own_input=_("Calls per minute, each user"),
            of_each=_("for each user"),
            of_one=_("for %(name)s"),
        ),
        "user_group": LimitKey(
            label=_("Group"),
            principal_kind="group",
            needs_principal=True,
            unknown_principal=_("There is no group named %(name)s. Give the name of an existing group."),
            of_one=_("for the group %(name)s together"),
            refused_one="for the group {name} at this endpoint",
        ),
        "service_principal": LimitKey(
            label=_("Service principal"),
            principal_kind="principal",
            only_service_principals=True,
            unknown_principal=_(
                "There is no service principal %(name)s. Give the application id of an existing one."
            ),
            of_each=_("for each service principal"),
            of_one=_("for %(name)s"),
        ),
    }
)

LIMIT_UNITS: Mapping[str, LimitUnit] = MappingProxyType(
    {
        "calls": LimitUnit(
            label=_("Calls per minute"),
            amount=_("%(limit)s a minute"),
            metric_help=_("Calls admitted a minute."),
            singular="call",
        ),
        "tokens": LimitUnit(
            label=_("Tokens per minute"),
            amount=_("%(limit)s tokens a minute"),
            metric_help=_("Tokens admitted a minute."),
            singular="token",
        ),
    }
)
