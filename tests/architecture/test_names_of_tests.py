"""Test ids are unique: of several tests with the same id pytest-xdist runs only the first, without a warning."""

from __future__ import annotations

from collections import Counter

import pytest


def test_every_collected_test_has_a_unique_id(request: pytest.FixtureRequest):
    times = Counter(item.nodeid for item in request.session.items)
    assert [name for name, count in times.items() if count > 1] == []
