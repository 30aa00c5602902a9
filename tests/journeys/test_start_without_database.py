"""A gateway that starts without its database serves the snapshot cached in the data folder, and reports its age."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.gateways import Gateways, running_gateways
from tests.support.product import CHAT_REQUEST, Product
from tests.support.waiting import free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def stopped_product(tmp_path: Path) -> Iterator[tuple[Product, str]]:
    """A product that has been stopped, with a snapshot in its data folder, and a token of its admin."""
    product = Product(tmp_path)
    with product.up():
        token = product.command("create_token", "admin@example.com", "--admin")
        wait_until(lambda: answers_a_query(product, token), what="the endpoint to be ready")
        copy = product.data / "gateway" / "snapshot"
        wait_until(copy.exists, what="the cached snapshot")
        written = copy.stat().st_ino
        product.command("create_token", "other@example.com")
        wait_until(lambda: copy.stat().st_ino != written, what="a newer cached snapshot")
    yield product, token


def answers_a_query(product: Product, token: str) -> bool:
    url = f"{product.url}/serving-endpoints/sandbox-chat/invocations"
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(url, json=CHAT_REQUEST, headers=headers, timeout=60).status_code == 200


def move_away(database: Path) -> None:
    """Replace the database by an empty folder."""
    away = database.parent / "away"
    away.mkdir()
    for each in database.parent.glob(f"{database.name}*"):
        each.rename(away / each.name)
    database.mkdir()


def bring_back(database: Path) -> None:
    database.rmdir()
    for each in (database.parent / "away").iterdir():
        each.rename(database.parent / each.name)


def degraded(gateways: Gateways) -> str:
    """The problems in `/readyz`, except those about workers, of which none runs."""
    return " ".join(
        each for each in gateways.readiness().json()["degraded"] if not each.startswith("No worker")
    )


@pytest.mark.smoke
def test_a_gateway_starts_from_the_cached_snapshot_and_follows_the_database_when_it_is_back(
    stopped_product: tuple[Product, str],
):
    product, token = stopped_product
    database = product.data / "serving_ui.sqlite3"
    move_away(database)
    with running_gateways(env=product.env, size=2) as gateways:
        with gateways.sessions() as sessions:
            for session in sessions.values():
                sentences = session.get(f"{gateways.url}/readyz", timeout=60).json()
                assert sentences["status"] == "ready"
                assert "it serves the snapshot cache of its data folder, which is" in sentences["degraded"][0]
                # The provider is not running: 503 shows that the token and the endpoint are known.
                answer = gateways.query("sandbox-chat", token, session=session)
                assert answer.status_code == 503, answer.text
                assert gateways.query("sandbox-chat", "unknown", session=session).status_code == 401
        bring_back(database)
        wait_until(lambda: "database" not in degraded(gateways), what="the database to be followed again")
        answer = gateways.query("sandbox-chat", token)
        assert answer.status_code == 503, answer.text


def test_processes_that_start_without_database_and_redis_enforce_shares_of_the_limits(
    stopped_product: tuple[Product, str],
):
    product, _token = stopped_product
    move_away(product.data / "serving_ui.sqlite3")
    env = {**product.env, "SERVING_UI_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with running_gateways(env=env, size=2) as gateways, gateways.sessions() as sessions:
        sentences = {
            session.get(f"{gateways.url}/readyz", timeout=60).json()["degraded"][1]
            for session in sessions.values()
        }
    place = "Redis cannot be reached. Until it is back, this process enforces its own share of each limit: it is number {} of 2."
    assert sentences == {place.format(1), place.format(2)}
    assert "Traceback" not in gateways.program.text


def test_a_gateway_starts_from_the_cached_snapshot_when_the_database_does_not_answer(
    stopped_product: tuple[Product, str],
):
    product, token = stopped_product
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        with running_gateways(env={**product.env, "SERVING_UI_DATABASE_URL": url}, size=1) as gateways:
            assert (
                "it serves the snapshot cache of its data folder"
                in gateways.readiness().json()["degraded"][0]
            )
            answer = gateways.query("sandbox-chat", token)
            assert answer.status_code == 503, answer.text
            gateways.program.signal(signal.SIGTERM)
            assert gateways.program.wait_for_exit(seconds=120) == 0


def test_a_gateway_without_database_and_cached_snapshot_is_503_with_the_reason(
    stopped_product: tuple[Product, str],
):
    product, token = stopped_product
    move_away(product.data / "serving_ui.sqlite3")
    (product.data / "gateway" / "snapshot").unlink()
    with running_gateways(env=product.env, size=1, ready=False) as gateways:
        wait_until(lambda: answers(gateways), what="the port to be answered")
        answer = gateways.readiness()
        assert (answer.status_code, answer.json()["status"]) == (503, "waiting for the first snapshot")
        answer = gateways.query("sandbox-chat", token)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"


def answers(gateways: Gateways) -> bool:
    try:
        return gateways.readiness().status_code > 0
    except requests.ConnectionError:
        return False
