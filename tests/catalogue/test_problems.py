"""Every error type of pydantic has a message, and messages can be translated later."""

from __future__ import annotations

import copy
import pickle
from typing import get_args

import pytest
from pydantic_core.core_schema import ErrorType

from serving_ui.catalogue.problems import Problem, SpecErrors, sentence
from serving_ui.catalogue.translatable import TranslatableText, _

# Every error type of pydantic, with example values for its parameters.
KINDS = get_args(ErrorType)
CONTEXT = dict.fromkeys(("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of"), 5) | {
    "expected": "a or b"
}
JARGON = ("input", "Extra", "frozenset", "dictionary", "iterable", "%(", "valid string", "parse")


@pytest.mark.parametrize("kind", KINDS)
def test_each_pydantic_error_has_a_message(kind: str) -> None:
    text = sentence(kind, "Calls", CONTEXT)
    assert text.startswith("Calls ")
    assert text.endswith(".")
    assert not [word for word in JARGON if word in text]


def test_all_problems_are_in_the_error() -> None:
    error = SpecErrors([Problem(("a",), _("One.")), Problem(("b", 0), _("Two."))])
    assert str(error) == "One. Two."
    assert error.problems[1].under("x", 1).path == ("x", 1, "b", 0)


FRENCH = {"%(label)s is one of: %(known)s.": "%(label)s : %(known)s.", "Key": "Clé", "A": "Un"}


def test_a_text_can_be_translated_later() -> None:
    text = _("%(label)s is one of: %(known)s.").fill(label=_("Key"), known=[_("A"), "A"])
    assert text == "Key is one of: A, A."
    for same in (text, copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert isinstance(same, TranslatableText)
        assert same.translated(lambda text: FRENCH.get(text, text)) == "Clé : Un, A."


def test_a_text_without_parameters_may_contain_percent_signs_and_braces() -> None:
    assert _("100 % of {{secrets/scope/key}}") == "100 % of {{secrets/scope/key}}"
    assert _("100 %").translated(str) == "100 %"
