"""Values of environment variables, which may be secrets, in logs and in what a model says when it fails."""

from __future__ import annotations

import json

import pytest

from serving_ui.backends.ray_serve.deployments.replica import _words
from serving_ui.backends.ray_serve.environment import without_values

KEY = 'first "line" of the key\nsecond+line=of/the key'


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        'INFO 1 -- first "line" of the key\nINFO 2 -- second+line=of/the key',
        json.dumps({"key": KEY}),
        repr(KEY),
        "https://x/?key=second%2Bline%3Dof%2Fthe%20key",
    ],
)
def test_no_spelling_of_a_value_stays(text: str):
    found = without_values(text, [KEY, "fast"])
    assert "[secret]" in found
    assert not [part for part in ("first", "second", "of the", "of/the") if part in found]


def test_short_values_and_all_else_stay():
    assert without_values("it is true, and fast", ["true", "", "fast\nslow"]) == "it is true, and fast"


def test_the_words_of_a_failed_model_have_no_value():
    problem = ValueError(f"the server refused {KEY}")
    assert _words(problem, [KEY]) == "ValueError: the server refused [secret]"
