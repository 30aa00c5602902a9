"""In any 60 seconds no more calls than the limit are admitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

from serving_ui.gateway.snapshot import Limit
from tests.gateway.conftest import GatewayServer

_ids = count()


def limited(gateway: GatewayServer, *rules: Limit) -> None:
    chat = gateway.holder.current.endpoints["chat"]
    gateway.publish(replace(chat, id=f"id-{next(_ids)}", limits=rules, everyone=True))


def test_under_concurrency_exactly_the_limit_is_admitted(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 10))
    with ThreadPoolExecutor(16) as callers:
        statuses = list(callers.map(lambda _: gateway.query().status_code, range(40)))
    assert sorted(statuses) == [200] * 10 + [429] * 30


def test_a_refusal_says_which_limit_and_when_it_frees(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 1))
    gateway.query()
    answer = gateway.query()
    assert (answer.status_code, answer.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert 55 <= int(answer.headers["retry-after"]) <= 60
    assert "1 call per minute" in answer.json()["message"]
    assert "endpoint" in answer.json()["message"]


def test_each_user_has_a_limit_of_their_own(gateway: GatewayServer):
    limited(gateway, Limit("user", 2))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    assert gateway.query(token="token-stranger").status_code == 200


def test_the_stricter_limit_wins(gateway: GatewayServer):
    limited(gateway, Limit("user", 2), Limit("endpoint", 3))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    tokens = ["token-stranger"] * 2
    assert [gateway.query(token=token).status_code for token in tokens] == [200, 429]


def test_zero_blocks(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 0))
    answer = gateway.query()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


def test_a_refused_call_is_not_counted(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 1))
    assert gateway.query(body={}).status_code == 400
    assert gateway.query(token="wrong").status_code == 401
    assert gateway.query().status_code == 200


def test_a_changed_limit_is_in_force_at_once_and_counts_what_was_before(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 5))
    chat = gateway.holder.current.endpoints["chat"]
    for _ in range(3):
        gateway.query()
    gateway.publish(replace(chat, limits=(Limit("endpoint", 3),)))
    assert gateway.query().status_code == 429
    gateway.publish(replace(chat, limits=()))
    assert gateway.query().status_code == 200
