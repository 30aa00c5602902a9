"""In any 60 seconds no more calls than the limit are admitted."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from itertools import count

import pytest

from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.limits import Limits, Reservation
from serving_ui.gateway.snapshot import Endpoint, Limit, TokenEntry
from serving_ui.gateway.windows import WINDOW_NS
from tests.gateway.conftest import ADMIN, CHAT, OWNER, STRANGER, GatewayServer
from tests.support.sandbox import SandboxServer

_ids = count()


def limited(gateway: GatewayServer, *rules: Limit) -> None:
    chat = gateway.holder.current.endpoints["chat"]
    gateway.publish(replace(chat, id=f"id-{next(_ids)}", limits=rules, everyone=True))


def test_under_concurrency_exactly_the_limit_is_admitted(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 10))
    with ThreadPoolExecutor(16) as callers:
        statuses = list(callers.map(lambda _: gateway.query().status_code, range(40)))
    assert sorted(statuses) == [200] * 10 + [429] * 30


def test_a_refusal_names_the_limit_and_when_to_retry(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 1))
    gateway.query()
    answer = gateway.query()
    assert (answer.status_code, answer.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "1 call per minute" in answer.json()["message"]
    assert "endpoint" in answer.json()["message"]


def test_each_user_has_a_limit_of_their_own(gateway: GatewayServer):
    limited(gateway, Limit("user", 2))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    assert gateway.query(token="token-stranger").status_code == 200


def test_the_stricter_of_two_limits_applies(gateway: GatewayServer):
    limited(gateway, Limit("user", 2), Limit("endpoint", 3))
    assert [gateway.query().status_code for _ in range(3)] == [200, 200, 429]
    tokens = ["token-stranger"] * 2
    assert [gateway.query(token=token).status_code for token in tokens] == [200, 429]


def test_a_limit_of_zero_blocks_every_call(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 0))
    answer = gateway.query()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


def test_a_refused_call_is_not_counted(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 1))
    assert gateway.query(body={}).status_code == 400
    assert gateway.query(token="wrong").status_code == 401
    assert gateway.query().status_code == 200


def test_a_changed_limit_applies_at_once_and_counts_earlier_calls(gateway: GatewayServer):
    limited(gateway, Limit("endpoint", 5))
    chat = gateway.holder.current.endpoints["chat"]
    for _ in range(3):
        gateway.query()
    gateway.publish(replace(chat, limits=(Limit("endpoint", 3),)))
    assert gateway.query().status_code == 429
    gateway.publish(replace(chat, limits=()))
    assert gateway.query().status_code == 200


def test_reserved_tokens_are_replaced_by_the_reported_ones(gateway: GatewayServer):
    limit, max_tokens = 400, 150
    limited(gateway, Limit("endpoint", limit, "tokens"))
    answers = [gateway.query(body={**CHAT, "max_tokens": max_tokens}) for _ in range(limit // 4)]
    used = [answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200]
    assert limit // max_tokens < len(used) < len(answers)
    assert limit - max_tokens - 2 * used[0] < sum(used) <= limit


def test_without_max_tokens_the_average_output_of_recent_calls_is_reserved(gateway: GatewayServer):
    used = gateway.query(body=CHAT).json()["usage"]["total_tokens"]
    limited(gateway, Limit("user", 10 * used, "tokens"))
    assert gateway.query(body=CHAT).status_code == 200
    with ThreadPoolExecutor(16) as callers:
        statuses = list(callers.map(lambda _: gateway.query(body=CHAT).status_code, range(40)))
    assert statuses.count(200) == 9


def test_the_reserved_output_is_never_larger_than_the_limit(gateway: GatewayServer):
    limits, chat = Limits(), gateway.holder.current.endpoints["chat"]
    wide, narrow = (replace(chat, limits=(Limit("user", most, "tokens"),)) for most in (5000, 500))

    async def admit(endpoint: Endpoint, now: int) -> Reservation:
        return await limits.admit(endpoint=endpoint, principal=OWNER, tokens=10, is_unbounded=True, now=now)

    async def admit_twice() -> None:
        (await admit(wide, 0)).settle(1000, now=0)
        await admit(narrow, WINDOW_NS + 1)  # the whole limit is reserved until the call is settled
        with pytest.raises(GatewayError, match="has been reached"):
            await admit(narrow, WINDOW_NS + 1)

    asyncio.run(admit_twice())


def test_a_failed_call_returns_its_reserved_tokens(gateway: GatewayServer, sandbox: SandboxServer):
    limited(gateway, Limit("endpoint", 200, "tokens"))
    sandbox.set_faults(on="chat/completions", status=400)
    failed = [gateway.query(body={**CHAT, "max_tokens": 150}).status_code for _ in range(3)]
    assert failed == [400, 400, 400]


def test_a_request_larger_than_the_limit_is_400(gateway: GatewayServer):
    limited(gateway, Limit("user", 100, "tokens"))
    refused = gateway.query(body={**CHAT, "max_tokens": 150})
    assert refused.status_code == 400
    assert "max_tokens" in refused.json()["message"]


def test_the_members_of_a_group_share_its_limit(gateway: GatewayServer):
    team = frozenset({"team"})
    members = [replace(who, groups=team) for who in (OWNER, STRANGER)]
    known = dict(zip(("token-owner", "token-stranger"), members, strict=True)) | {"token-admin": ADMIN}
    tokens = {sha256(token.encode()).digest(): TokenEntry(who) for token, who in known.items()}
    limited(gateway, Limit("user_group", 2, principal="team", shown="The team"))
    gateway.publish(tokens=tokens)
    queries = ("token-owner", "token-stranger", "token-owner", "token-admin")
    assert [gateway.query(token=token).status_code for token in queries] == [200, 200, 429, 200]
