"""Form fields of the repeated rows: served entities and rate limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS
from serving_ui.pages.forms.draft import Draft
from serving_ui.pages.forms.entities import TRAFFIC
from serving_ui.pages.forms.inputs import MODEL, input_name, text_input
from serving_ui.pages.forms.rate_limits import PARTS
from serving_ui.pages.translation import translate


@dataclass(frozen=True)
class LimitInputs:
    """The inputs of one row of the rate limits."""

    number: int
    place: str
    key: forms.BoundField
    principal: forms.BoundField
    calls: forms.BoundField
    tokens: forms.BoundField

    def errors(self) -> list[forms.BoundField]:
        return [field for field in (self.key, self.principal, self.calls, self.tokens) if field.errors]


@dataclass(frozen=True)
class EntityRow:
    """One row of the served entities. `traffic` is None if there is only one."""

    index: int
    provider: str
    model: str
    is_open: bool
    traffic: forms.BoundField | None


def keys() -> list[tuple[str, str]]:
    """The choices of a limit's kind."""
    return [(name, translate(key.label)) for name, key in LIMIT_KEYS.items()]


def values(draft: Draft) -> dict[str, str]:
    """The typed values of all rows, by input name."""
    found = {f"limits-{n}-{part}": getattr(row, part) for n, row in enumerate(draft.limits) for part in PARTS}
    for index, each in enumerate(draft.each_entity()):
        found[f"{TRAFFIC}-{index}"] = each.values.get(TRAFFIC, "" if index else "100")
    return found


def fields(draft: Draft) -> dict[str, forms.CharField]:
    """The fields of all rows."""
    number: dict[str, Any] = {"max_length": 12, "inputmode": "numeric", "placeholder": _("No limit")}
    made: dict[str, forms.CharField] = {}
    for n in range(len(draft.limits)):
        made[f"limits-{n}-key"] = forms.CharField(
            label=_("For"), required=False, widget=forms.Select(choices=keys())
        )
        if draft.added_limit and n == len(draft.limits) - 1:
            made[f"limits-{n}-key"].widget.attrs["autofocus"] = True
        made[f"limits-{n}-principal"] = text_input(_("Name"), max_length=255)
        for name, unit in LIMIT_UNITS.items():
            made[f"limits-{n}-{name}"] = text_input(translate(unit.label), **number)
    if draft.entities.count > 1:
        for index in range(draft.entities.count):
            made[f"{TRAFFIC}-{index}"] = text_input(_("Traffic (%)"), max_length=3, inputmode="numeric")
    return made


def limit_inputs(form: forms.Form) -> list[LimitInputs]:
    draft: Draft = form.draft  # type: ignore[attr-defined]
    return [
        LimitInputs(n, row.place, *(form[f"limits-{n}-{part}"] for part in PARTS))
        for n, row in enumerate(draft.limits)
    ]


def entity_rows(form: forms.Form) -> list[EntityRow]:
    draft: Draft = form.draft  # type: ignore[attr-defined]
    several = draft.entities.count > 1
    return [
        EntityRow(
            index,
            translate(each.provider.label) if each.provider else "",
            each.values.get(input_name(each.provider, MODEL), "") if each.provider else "",
            index == draft.entities.open_index,
            form[f"{TRAFFIC}-{index}"] if several else None,
        )
        for index, each in enumerate(draft.each_entity())
    ]
