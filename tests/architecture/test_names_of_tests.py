"""Of several tests with one name, a run in two processes that is divided by files carries out the first, and says nothing of the others."""

from __future__ import annotations

from collections import Counter

import pytest


def test_every_collected_test_has_a_unique_id(request: pytest.FixtureRequest):
    times = Counter(item.nodeid for item in request.session.items)
    assert [name for name, count in times.items() if count > 1] == []
