"""When a field is shown and when it is required, given the values of the choices that it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving_ui.catalogue.fields import Condition, ConfigField


def is_met(condition: Condition | None, values: Mapping[str, str]) -> bool:
    """Whether the values of the choices meet the condition; None is always met."""
    return condition is None or values.get(condition[0]) in condition[1]


def is_required(always: bool, condition: Condition | None, values: Mapping[str, str]) -> bool:
    return always or (condition is not None and is_met(condition, values))


def implied_choice(choice: ConfigField, conditions: Iterable[Condition | None]) -> str | None:
    """The value of a form-only choice, inferred from the conditions of the fields that have a value: the first that shows one of them."""
    shown_by = [
        condition[1] for condition in conditions if condition is not None and condition[0] == choice.name
    ]
    return next(
        (value for value, _label in choice.choices if any(value in values for values in shown_by)), None
    )
