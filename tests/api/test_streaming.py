"""Long lists are streamed, by the asynchronous server and by Django's test client."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.revisions import changes, gateways
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db(transaction=True)
B = "/api/2.0/serving-endpoints"


def create_endpoints_up_to(first: Endpoint, count: int) -> None:
    """Add endpoints until there are `count`."""
    Endpoint.objects.bulk_create(
        Endpoint(
            workspace_id=first.workspace_id,
            name=f"e{number}",
            creator_id=first.creator_id,
            created_at=first.created_at,
            modified_at=first.modified_at,
            latest_id=first.latest_id,
        )
        for number in range(1, count)
    )


@pytest.mark.parametrize("count", [199, 200, 201, 1500])
def test_a_list_of_any_length_is_complete(api: Caller, make_endpoint, count: int):
    create_endpoints_up_to(make_endpoint("e0"), count)
    with CaptureQueriesContext(connection) as queries:
        names = [item["name"] for item in api.get("/serving-endpoints")["endpoints"]]
    assert sorted(names) == sorted(f"e{number}" for number in range(count))
    assert len(queries) <= 3, [query["sql"] for query in queries]


def test_the_asynchronous_server_sends_a_list_in_pieces(owner: User, make_endpoint):
    create_endpoints_up_to(make_endpoint("e0"), 1500)
    value = create_access_token(user=owner, now=clock.now())[1]

    async def read_pieces() -> list[bytes]:
        response: Any = await AsyncClient().get(B, headers={"Authorization": f"Bearer {value}"})
        assert response.is_async
        return [piece async for piece in response]

    pieces = async_to_sync(read_pieces)()
    assert len(pieces) > 3
    assert len(json.loads(b"".join(pieces))["endpoints"]) == 1500


@pytest.fixture
def long_liveness_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway process counts as alive for a minute after its last sign of life."""
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(minutes=1))


@pytest.mark.usefixtures("long_liveness_timeout")
def test_a_change_names_a_gateway_that_has_not_acknowledged_it(api: Caller, make_endpoint):
    make_endpoint("chat")
    gateways.acknowledge(process="web-1", revision=changes.bump_revision())
    answer = api.request_json("PUT", "/serving-endpoints/chat/rate-limits", {"rate_limits": [{"calls": 1}]})
    assert "web-1" in answer["warnings"][0]


@pytest.mark.usefixtures("long_liveness_timeout")
def test_a_change_waits_for_a_gateway_no_longer_than_its_timeout():
    began = time.monotonic()
    gateways.acknowledge(process="web-1", revision=0)
    assert gateways.wait_for_gateways(revision=1) == ["web-1"]
    assert time.monotonic() - began < gateways.ACKNOWLEDGEMENT_TIMEOUT.total_seconds() + 30
    gateways.acknowledge(process="web-1", revision=1)
    assert gateways.wait_for_gateways(revision=1) == []
