"""Limit windows of one process: whatever the schedule, no 60 seconds contain more than the limit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.limits import Limits, Reservation
from serving_ui.gateway.snapshot import Endpoint, Limit, Principal
from serving_ui.gateway.windows import BUCKET_NS, MAX_ENTRIES, SECOND_NS, WINDOW_NS, Window

CHAT = Endpoint("e", "chat", Task.CHAT, ())
ANN = Principal("u", "ann@example.com", groups=frozenset({"team"}))
BOB = Principal("v", "bob@example.com", groups=frozenset({"team"}))
ROBOT = Principal("r", "3f0c", kind="service_principal")


def admit(
    limits: Limits, *rules: Limit, now: int, tokens: int = 0, who: Principal = ANN
) -> Reservation | GatewayError:
    """Returns a refusal instead of raising it."""
    try:
        admission = limits.admit(endpoint=replace(CHAT, limits=rules), principal=who, tokens=tokens, now=now)
        return asyncio.run(admission)
    except GatewayError as error:
        return error


def is_admitted(limits: Limits, *rules: Limit, now: int, tokens: int = 0, who: Principal = ANN) -> bool:
    return isinstance(admit(limits, *rules, now=now, tokens=tokens, who=who), Reservation)


@given(most=st.integers(0, 5), steps=st.lists(st.integers(0, 40 * SECOND_NS), max_size=60))
def test_no_60_seconds_admit_more_calls_than_the_limit(most: int, steps: list[int]):
    limits, now, admitted = Limits(), 1000 * SECOND_NS, list[int]()
    for step in steps:
        now += step
        if is_admitted(limits, Limit("user", most), Limit("endpoint", most + 1), now=now):
            admitted.append(now)
    for moment in admitted:
        assert sum(moment - WINDOW_NS < other <= moment for other in admitted) <= most


@given(
    most=st.integers(0, 50),
    calls=st.lists(st.tuples(st.integers(0, 40 * SECOND_NS), st.integers(1, 60)), max_size=60),
)
def test_no_60_seconds_reserve_more_tokens_than_the_limit(most: int, calls: list[tuple[int, int]]):
    limits, now, admitted = Limits(), 0, list[tuple[int, int]]()
    for step, tokens in calls:
        now += step
        if is_admitted(limits, Limit("user", most, "tokens"), now=now, tokens=tokens):
            admitted.append((now, tokens))
    for moment, _ in admitted:
        assert sum(tokens for at, tokens in admitted if moment - WINDOW_NS < at <= moment) <= most


@given(gaps=st.lists(st.integers(0, BUCKET_NS // 3), min_size=50, max_size=100))
@settings(max_examples=10)
def test_a_busy_window_stays_small_and_never_admits_more(gaps: list[int]):
    window, now, most = Window(), 0, MAX_ENTRIES + MAX_ENTRIES // 2
    admitted = list[int]()
    for gap in gaps * 40:
        now += gap
        if not window.wait_ns(1, most, now):
            window.add(1, now)
            admitted.append(now)
    assert len(window.entries) <= 2 * MAX_ENTRIES + 1
    assert all(
        later - earlier >= WINDOW_NS for earlier, later in zip(admitted, admitted[most:], strict=False)
    )
    assert not window.wait_ns(most, most, now + WINDOW_NS + BUCKET_NS)


@given(most=st.integers(1, 5), gaps=st.lists(st.integers(0, 20 * SECOND_NS), min_size=1, max_size=30))
def test_a_call_is_admitted_after_the_retry_after_of_the_refusal(most: int, gaps: list[int]):
    limits, now = Limits(), 0
    for gap in gaps:
        now += gap
        answer = admit(limits, Limit("endpoint", most), now=now)
        if isinstance(answer, GatewayError):
            assert answer.retry_after is not None and 0 < answer.retry_after <= 60
            now += answer.retry_after * SECOND_NS
            assert is_admitted(limits, Limit("endpoint", most), now=now)


def test_unused_tokens_are_returned_and_tokens_beyond_the_reservation_count():
    limits, rule = Limits(), Limit("endpoint", 100, "tokens")
    first = admit(limits, rule, now=0, tokens=80)
    assert isinstance(first, Reservation)
    assert not is_admitted(limits, rule, now=1, tokens=30)
    first.settle(10, now=2)
    first.settle(0, now=2)  # a second settlement is ignored
    second = admit(limits, rule, now=3, tokens=90)
    assert isinstance(second, Reservation)
    second.settle(250, now=30 * SECOND_NS)
    assert not is_admitted(
        limits, rule, now=61 * SECOND_NS, tokens=1
    )  # the 160 tokens beyond the reservation count from second 30 on
    assert is_admitted(limits, rule, now=91 * SECOND_NS, tokens=1)


def test_tokens_outside_the_window_are_not_returned():
    limits, rule = Limits(), Limit("endpoint", 10, "tokens")
    first = admit(limits, rule, now=0, tokens=10)
    assert is_admitted(limits, rule, now=WINDOW_NS, tokens=10)
    assert isinstance(first, Reservation)
    first.settle(0, now=WINDOW_NS + 1)
    assert not is_admitted(limits, rule, now=WINDOW_NS + 2, tokens=1)


def test_a_request_larger_than_the_limit_is_400_instead_of_429():
    answer = admit(Limits(), Limit("endpoint", 100, "tokens"), now=0, tokens=101)
    assert isinstance(answer, GatewayError)
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "101 tokens" in answer.message and "max_tokens" in answer.message


def test_the_members_of_a_group_share_its_limit():
    limits, rule = Limits(), Limit("user_group", 2, principal="team", shown="The team")
    assert [is_admitted(limits, rule, now=n, who=who) for n, who in enumerate((ANN, BOB, ANN))] == [
        True,
        True,
        False,
    ]
    assert is_admitted(limits, rule, now=9, who=ROBOT)
    refused = admit(limits, rule, now=9, who=BOB)
    assert isinstance(refused, GatewayError) and "the group The team" in refused.message


def test_of_a_users_own_limit_and_the_default_the_stricter_applies():
    default, wide = Limit("user", 2), Limit("user", 5, principal="u", shown="ann@example.com")
    narrow = Limit("user", 1, principal="u", shown="ann@example.com")
    for own, most in ((wide, 2), (narrow, 1)):
        limits = Limits()
        assert sum(is_admitted(limits, default, own, now=n) for n in range(9)) == most
        assert sum(is_admitted(limits, default, own, now=n, who=BOB) for n in range(9)) == 2


def test_limits_of_service_principals_do_not_apply_to_users():
    each, one = Limit("service_principal", 1), Limit("service_principal", 0, principal="r", shown="3f0c")
    assert is_admitted(Limits(), each, one, now=0)
    assert not is_admitted(Limits(), each, one, now=0, who=ROBOT)
    assert is_admitted(Limits(), each, now=0, who=ROBOT)


@pytest.mark.parametrize("order", [(3, 2), (2, 3)])
def test_two_limits_of_one_window_count_a_call_once(order: tuple[int, int]):
    limits, now = Limits(), count()
    rules = [Limit("endpoint", most) for most in order]
    assert [is_admitted(limits, *rules, now=next(now)) for _ in range(4)] == [True, True, False, False]


def test_settling_after_the_window_was_deleted_returns_no_tokens():
    limits, rule = Limits(), Limit("user", 100, "tokens")
    long = admit(limits, rule, now=0, tokens=100)
    assert isinstance(long, Reservation)
    for number in range(5000):  # so many that unused windows are deleted
        is_admitted(limits, rule, now=WINDOW_NS + number, who=Principal(str(number), "someone@example.com"))
    long.settle(0, now=2 * WINDOW_NS)
    assert is_admitted(limits, rule, now=2 * WINDOW_NS, tokens=100)
    assert not is_admitted(limits, rule, now=2 * WINDOW_NS, tokens=1)


def test_windows_of_inactive_users_are_deleted():
    limits = Limits()
    for number in range(5000):
        who = Principal(str(number), "someone@example.com")
        is_admitted(limits, Limit("user", 1), now=number * SECOND_NS, who=who)
    assert len(limits._windows._windows) < 1000 + 60 + 4096 - 4000
