"""In any 60 seconds no more calls than the limit are admitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.gateway.limits import WINDOW, Limits
from tests.gateway.conftest import GatewayServer

SECOND = 1_000_000_000


_ids = count()


def limited(gateway: GatewayServer, *rules: tuple[str, int]) -> None:
    chat = gateway.holder.current.endpoints["chat"]
    gateway.publish(replace(chat, id=f"id-{next(_ids)}", rate_limits=rules, everyone=True))


def test_under_concurrency_exactly_the_limit_is_admitted(gateway: GatewayServer):
    limited(gateway, ("endpoint", 10))
    with ThreadPoolExecutor(16) as callers:
        statuses = list(callers.map(lambda _: gateway.query().status_code, range(40)))
    assert sorted(statuses) == [200] * 10 + [429] * 30


def test_a_refusal_says_which_limit_and_when_it_frees(gateway: GatewayServer):
    limited(gateway, ("endpoint", 1))
    gateway.query()
    answer = gateway.query()
    assert (answer.status_code, answer.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert 55 <= int(answer.headers["retry-after"]) <= 60
    assert "1 call per minute" in answer.json()["message"]
    assert "endpoint" in answer.json()["message"]


def test_each_user_has_a_limit_of_their_own(gateway: GatewayServer):
    limited(gateway, ("user", 2))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    assert gateway.query(token="token-stranger").status_code == 200


def test_the_stricter_limit_wins(gateway: GatewayServer):
    limited(gateway, ("user", 2), ("endpoint", 3))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    tokens = ["token-stranger"] * 2
    assert [gateway.query(token=token).status_code for token in tokens] == [200, 429]


def test_zero_blocks(gateway: GatewayServer):
    limited(gateway, ("endpoint", 0))
    answer = gateway.query()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


def test_a_refused_call_is_not_counted(gateway: GatewayServer):
    limited(gateway, ("endpoint", 1))
    assert gateway.query(body={}).status_code == 400
    assert gateway.query(token="wrong").status_code == 401
    assert gateway.query().status_code == 200


def test_a_changed_limit_is_in_force_at_once_and_counts_what_was_before(gateway: GatewayServer):
    limited(gateway, ("endpoint", 5))
    chat = gateway.holder.current.endpoints["chat"]
    for _ in range(3):
        gateway.query()
    gateway.publish(replace(chat, rate_limits=(("endpoint", 3),)))
    assert gateway.query().status_code == 429
    gateway.publish(replace(chat, rate_limits=()))
    assert gateway.query().status_code == 200


@given(
    calls=st.integers(0, 5),
    steps=st.lists(st.integers(0, 40 * SECOND), max_size=60),
)
def test_no_window_of_a_minute_ever_holds_more(calls: int, steps: list[int]):
    limits, now, admitted = Limits(), 1000 * SECOND, list[int]()
    for step in steps:
        now += step
        refusal = limits.admit(
            endpoint_id="e", user_id="u", rules=(("user", calls), ("endpoint", calls + 1)), now=now
        )
        if refusal is None:
            admitted.append(now)
        else:
            assert 0 < refusal.wait <= WINDOW * SECOND
    for moment in admitted:
        assert sum(moment - WINDOW * SECOND < other <= moment for other in admitted) <= calls


@given(calls=st.integers(1, 5), gaps=st.lists(st.integers(0, 20 * SECOND), min_size=1, max_size=30))
def test_waiting_as_long_as_the_refusal_says_is_enough(calls: int, gaps: list[int]):
    limits, now = Limits(), 0
    for gap in gaps:
        now += gap
        refusal = limits.admit(endpoint_id="e", user_id="u", rules=(("endpoint", calls),), now=now)
        if refusal is not None:
            now += refusal.retry_after * SECOND
            assert limits.admit(endpoint_id="e", user_id="u", rules=(("endpoint", calls),), now=now) is None


def test_windows_of_users_who_left_are_forgotten():
    limits = Limits()
    for number in range(5000):
        limits.admit(endpoint_id="e", user_id=str(number), rules=(("user", 1),), now=number * SECOND)
    assert len(limits._windows) < 1000 + 60 + 4096 - 4000


@pytest.mark.parametrize("rules", [(("endpoint", 3), ("endpoint", 2)), (("endpoint", 2), ("endpoint", 3))])
def test_two_limits_of_one_key_count_a_call_once(rules: tuple[tuple[str, int], ...]):
    limits = Limits()
    outcomes = [limits.admit(endpoint_id="e", user_id="u", rules=rules, now=n) is None for n in range(4)]
    assert outcomes == [True, True, False, False]
