"""When a field is shown and when it must be given, told from the answers to the choices that it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving_ui.catalogue.fields import Condition, Selector


def is_met(condition: Condition | None, answers: Mapping[str, str]) -> bool:
    """Whether the answers fulfil a condition; no condition is always fulfilled."""
    return condition is None or answers.get(condition[0]) in condition[1]


def is_required(always: bool, condition: Condition | None, answers: Mapping[str, str]) -> bool:
    return always or (condition is not None and is_met(condition, answers))


def implied_choice(selector: Selector, given: Iterable[Condition | None]) -> str | None:
    """The selector's answer that the given fields speak of: the first choice that shows one of them."""
    spoken = [condition[1] for condition in given if condition is not None and condition[0] == selector.name]
    return next((choice for choice in selector.choices if any(choice in answers for answers in spoken)), None)
