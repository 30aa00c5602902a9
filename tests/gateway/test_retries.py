"""Retries: a refused request is repeated only if the provider did no work and says when to come back."""

from __future__ import annotations

import threading
import time
from email.utils import format_datetime, formatdate
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.gateway import retries
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.lib.retry_after import retry_after_seconds
from tests.gateway.conftest import CHAT, GatewayServer, disconnect_when, endpoint, entity
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import free_port, wait_until

REPLY = {
    "choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
GOOD = Answer.json(REPLY)


def refusal(status: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer.json({"error": {"message": "Not now."}}, status=status, headers=named)


@pytest.fixture
def busy_vendor(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """A vendor behind the endpoint `busy`."""
    gateway.add(endpoint("busy", entity(base=vendor.url)))
    return vendor


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_refusal_with_a_retry_after_is_retried_after_that_time(
    gateway: GatewayServer, busy_vendor: Vendor, status: int
):
    busy_vendor.set_answers(refusal(status, Retry_After="1"), refusal(status, Retry_After="1"), GOOD)
    began = time.monotonic()
    answer = gateway.query("busy")
    assert (answer.status_code, len(busy_vendor.requests)) == (200, 3)
    assert gateway.usage.last.retries == 2
    assert time.monotonic() - began >= 2
    assert float(answer.headers["x-gateway-overhead-ms"]) < 2000, "the delays are no overhead"


def test_retry_after_ms_is_used_for_the_delay(gateway: GatewayServer, busy_vendor: Vendor):
    """Azure sends both headers; its seconds are rounded up."""
    busy_vendor.set_answers(refusal(429, Retry_After="60", retry_after_ms="100"), GOOD)
    assert (gateway.query("busy").status_code, len(busy_vendor.requests)) == (200, 2)


@pytest.mark.parametrize(
    "refused",
    [
        refusal(429),
        refusal(503),
        refusal(529),
        refusal(429, Retry_After="60"),
        refusal(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"),
        refusal(429, Retry_After="soon"),
        refusal(429, Retry_After="1", X_Should_Retry="False"),
        Answer.json({"error": {"code": "insufficient_quota"}}, status=429, headers={"Retry-After": "1"}),
        *(refusal(status, Retry_After="0", X_Should_Retry="true") for status in (400, 401, 408, 409, 425)),
        *(refusal(status, Retry_After="0", X_Should_Retry="true") for status in (500, 502, 504, 520, 524)),
        Answer(200, {"Content-Type": "application/json"}, (b"{",), cut=True),
    ],
    ids=lambda refused: f"{refused.status} {' '.join(map(str, refused.headers.values()))[17:]}",
)
def test_no_other_reply_is_retried(gateway: GatewayServer, busy_vendor: Vendor, refused: Answer):
    busy_vendor.set_answers(refused, GOOD)
    assert gateway.query("busy").status_code != 200
    assert (len(busy_vendor.requests), gateway.usage.last.retries) == (1, 0)


def test_three_statuses_are_retryable():
    """The table in retries.py."""
    headers = {"retry-after": "1"}
    assert [status for status in range(400, 600) if retries.is_retryable(status, headers)] == [429, 503, 529]
    assert not any(retries.is_retryable(status, {}) for status in range(400, 600))


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (refusal(503, Retry_After="7"), "7"),
        (refusal(529, Retry_After="7"), "7"),
        (refusal(503), None),
        (refusal(502, Retry_After="7"), None),
        (Answer(200, {"Content-Type": "application/json"}, (b"{",), cut=True), None),
    ],
    ids=["503", "529", "503 without", "502", "cut"],
)
def test_only_retryable_refusals_have_a_retry_after(
    gateway: GatewayServer, busy_vendor: Vendor, refused: Answer, expected: str | None
):
    """Clients and gateways retry an answer with a Retry-After, so a request that a model may have read must have none."""
    busy_vendor.set_answers(refused)
    answer = gateway.query("busy")
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, expected)


def test_the_last_refusal_is_what_the_caller_gets(gateway: GatewayServer, busy_vendor: Vendor):
    busy_vendor.set_answers(refusal(503, Retry_After="0"))
    answer = gateway.query("busy")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "Not now." in answer.json()["message"]
    assert len(busy_vendor.requests) == retries.MAX_ATTEMPTS


def test_a_refused_connection_is_retried(gateway: GatewayServer):
    gateway.add(endpoint("away", entity(base=f"http://127.0.0.1:{free_port()}")))
    assert gateway.query("away").status_code == 503
    assert gateway.usage.last.retries == retries.MAX_ATTEMPTS - 1


def test_a_stream_that_has_begun_is_never_retried(gateway: GatewayServer, busy_vendor: Vendor):
    event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    busy_vendor.set_answers(Answer.stream(event, cut=True), GOOD)
    answer = gateway.query("busy", {**CHAT, "stream": True})
    assert b"[DONE]" not in answer.content
    assert len(busy_vendor.requests) == 1


def test_a_disconnect_during_a_delay_cancels_the_retry(gateway: GatewayServer, busy_vendor: Vendor):
    busy_vendor.set_answers(refusal(429, Retry_After="4"), GOOD)
    disconnect_when(lambda: busy_vendor.requests, gateway, "busy")
    wait_until(lambda: gateway.usage.records)
    assert (gateway.usage.last.status, gateway.usage.last.completeness) == (499, "client_left")
    assert len(busy_vendor.requests) == 1


def test_a_timeout_is_not_retried(gateway: GatewayServer, busy_vendor: Vendor):
    gateway.add(endpoint("busy", entity(base=busy_vendor.url), timeouts=Timeouts(first_byte=1.5)))
    busy_vendor.set_answers(Answer(200, {}, (b"{}",), gate=threading.Event()), GOOD)
    assert gateway.query("busy").status_code == 504
    assert len(busy_vendor.requests) == 1


@given(
    attempts=st.integers(1, 10),
    spent=st.floats(0, 100),
    retry_after=st.none() | st.floats(0, 1e6),
)
def test_delays_stay_within_the_total_and_are_never_shorter_than_retry_after(
    attempts: int, spent: float, retry_after: float | None
):
    seconds = retries.retry_delay(attempts=attempts, spent=spent, retry_after=retry_after)
    if seconds is not None:
        assert attempts < retries.MAX_ATTEMPTS
        assert seconds >= (retry_after or 0)
        assert spent + seconds <= retries.MAX_TOTAL_DELAY_SECONDS


def test_a_retry_after_that_is_a_date_is_used_for_the_delay(gateway: GatewayServer, busy_vendor: Vendor):
    at = "Mon, 23 Nov 2026 10:00:00 GMT"
    busy_vendor.set_answers(refusal(429, Retry_After=at.replace(":00 GMT", ":01 GMT"), Date=at), GOOD)
    assert gateway.query("busy").status_code == 200
    assert gateway.usage.last.retries == 1


def date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("after", "now", "least", "most"),
    [
        ("7", None, 7, 7),
        ("-7", None, 0, 0),
        (90, None, 30, 91),
        (-90, None, 0, 0),
        (30, 10, 19, 21),
        (90, "today", 30, 91),
        ("1.5", None, 1.5, 1.5),
    ],
    ids=["seconds", "negative", "date", "past date", "date by their clock", "date by no clock", "half"],
)
def test_retry_after_is_parsed_as_seconds_or_a_date(
    after: str | int, now: str | int | None, least: float, most: float
):
    """Integers stand for a date that many seconds from now."""
    values = {"retry-after": after, "date": now}
    headers = {
        name: date(value) if isinstance(value, int) else value for name, value in values.items() if value
    }
    seconds = retry_after_seconds(headers)
    assert seconds is not None
    assert least <= seconds <= most


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 0),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after-ms": "inf", "retry-after": "nan"}, None),
    ],
)
def test_retry_after_ms_takes_precedence_over_retry_after(headers: dict[str, str], seconds: float | None):
    assert retry_after_seconds(headers) == seconds


@given(
    value=st.text(max_size=40) | st.floats().map(str) | st.datetimes().map(format_datetime), date=st.text()
)
def test_any_retry_after_is_parsed_without_an_error(value: str, date: str):
    seconds = retry_after_seconds({"retry-after": value, "date": date})
    assert seconds is None or 0 <= seconds < inf
