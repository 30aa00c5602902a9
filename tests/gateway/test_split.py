"""Traffic split: each served entity gets its percentage of any run of queries, rounded to whole queries."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.gateway.routing import MAX_FALLBACKS, candidates
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.support.sandbox import SandboxServer

SERVED = tuple(entity(base="http://127.0.0.1:1", name=f"model-{number}") for number in range(4))


@given(cuts=st.lists(st.integers(0, 100), min_size=3, max_size=3), start=st.integers(0, 1_000_000))
def test_any_thousand_queries_are_split_within_one_percent(cuts: list[int], start: int):
    edges = [0, *sorted(cuts), 100]
    shares = [above - below for below, above in pairwise(edges)]
    routes = tuple((each.name, share) for each, share in zip(SERVED, shares, strict=True))
    split = endpoint("split", SERVED[0], entities=SERVED, routes=routes)
    chosen = Counter(candidates(split, query_number=start + number)[0].name for number in range(1000))
    for name, share in routes:
        assert abs(chosen[name] - share * 10) <= 10, (name, share, chosen)


@given(turn=st.integers(0, 1_000_000))
def test_an_entity_with_0_percent_is_used_for_fallback_only(turn: int):
    routes = (("model-0", 0), ("model-1", 60), ("model-2", 40), ("model-3", 0))
    split = endpoint("split", SERVED[0], entities=SERVED, routes=routes, fallback=True)
    first, *others = candidates(split, query_number=turn)
    assert first.name in {"model-1", "model-2"}
    assert len(others) == MAX_FALLBACKS
    assert len({first.name, *(each.name for each in others)}) == 1 + MAX_FALLBACKS


@pytest.mark.parametrize("fallback", [True, False])
def test_one_entity_needs_no_routes(fallback: bool):
    alone = endpoint("alone", SERVED[0], fallback=fallback)
    assert candidates(alone, query_number=7) == (SERVED[0],)


def test_queries_are_split_through_a_running_gateway(gateway: GatewayServer, sandbox: SandboxServer):
    served = tuple(entity(base=sandbox.base, name=name) for name in ("large", "small"))
    gateway.add(endpoint("split", served[0], entities=served, routes=(("large", 25), ("small", 75))))
    answered = Counter(gateway.query("split", CHAT).headers["served-model-name"] for _ in range(40))
    assert 8 <= answered["large"] <= 12
    assert answered.total() == 40
    assert Counter(record.entity for record in gateway.usage.records) == answered


def test_queries_to_other_endpoints_do_not_change_the_split(gateway: GatewayServer, sandbox: SandboxServer):
    """With one counter for all endpoints, each 21st query would go to the same model many times in a row."""
    served = tuple(entity(base=sandbox.base, name=name) for name in ("left", "right"))
    routes = (("left", 50), ("right", 50))
    gateway.add(*(endpoint(name, served[0], entities=served, routes=routes) for name in ("busy", "rare")))
    answered = Counter[str]()
    for _ in range(10):
        for _ in range(20):
            gateway.query("busy", CHAT)
        answered[gateway.query("rare", CHAT).headers["served-model-name"]] += 1
    assert 4 <= answered["left"] <= 6
