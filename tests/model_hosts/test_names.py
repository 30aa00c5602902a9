"""The names of foundation models' endpoints: `names.foundation_name`."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.catalogue.names import NAME_PATTERN, endpoint_name_problem, foundation_name


def name(host: str, model: str, *taken: str) -> str:
    return foundation_name(host, model, is_taken=set(taken).__contains__)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama3", "system-gpu-llama3"),
        ("llama3.1:8b", "system-gpu-llama3-1-8b"),
        ("meta-llama/Llama-3.1-8B", "system-gpu-meta-llama-Llama-3-1-8B"),
        ("模型", "system-gpu---"),
        ("a" * 52, "system-gpu-" + "a" * 52),
    ],
)
def test_characters_that_names_cannot_have_become_hyphens(model: str, expected: str):
    assert name("gpu", model) == expected


def test_a_long_name_is_cut_and_ends_with_its_hash():
    model = "m" * 53
    digits = sha256(f"system-gpu-{model}".encode()).hexdigest()[:8]
    assert name("gpu", model) == "system-gpu-" + "m" * 43 + "-" + digits
    assert name("gpu", model + "x") != name("gpu", model + "y")


def test_a_taken_name_is_numbered():
    assert name("gpu", "a", "system-gpu-a") == "system-gpu-a-2"
    assert name("gpu", "a", "system-gpu-a", "system-gpu-a-2") == "system-gpu-a-3"
    long = name("gpu", "a" * 52)
    assert name("gpu", "a" * 52, long) == long[:61] + "-2"


@given(
    host=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
    models=st.lists(st.text(min_size=1, max_size=256), max_size=20),
)
def test_every_name_is_valid_and_given_once(host: str, models: list[str]):
    made: set[str] = set()
    for model in models:
        new = foundation_name(host, model, is_taken=made.__contains__)
        assert re.fullmatch(NAME_PATTERN, new)
        assert new.startswith("system-")
        assert new not in made
        made.add(new)


@pytest.mark.parametrize("name", ["system-mine", "System-x"])
def test_no_user_may_choose_such_a_name(name: str):
    assert "system-" in str(endpoint_name_problem(name))
