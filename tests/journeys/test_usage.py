"""Usage with real processes: the number of answers equals the rows and the sum of the minutes, although processes are killed."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.journeys.conftest import Deploy
from tests.support.background_queries import query_in_background
from tests.support.product import BEAT, SERVER, WORKER, Person, Product
from tests.support.suspending import suspended
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
SOON = 120.0


def number_from(product: Product, sql: str, *values: str) -> int:
    """A number from the database."""
    with closing(sqlite3.connect(product.data / "serving_ui.sqlite3", timeout=60)) as database:
        return int(database.execute(sql, values).fetchone()[0] or 0)


def rows(product: Product, name: str) -> int:
    return number_from(product, "SELECT COUNT(*) FROM usage_request WHERE endpoint = ?", name)


def different(product: Product, name: str) -> int:
    return number_from(
        product, "SELECT COUNT(DISTINCT request_id) FROM usage_request WHERE endpoint = ?", name
    )


def in_minutes(product: Product, name: str) -> int:
    return number_from(product, "SELECT SUM(requests) FROM usage_minute WHERE endpoint = ?", name)


def spool_is_empty(product: Product) -> bool:
    output = product.command("check_usage")
    found = re.search(r"waiting in the spool\s+(\d+)", output)
    assert found
    return found[1] == "0"


def test_a_query_becomes_a_row_and_is_counted_in_its_minute(product: Product, owner: Person, deploy: Deploy):
    name = deploy()
    answer = owner.query(name)
    wait_until(lambda: rows(product, name) == 1, what="the row")
    tokens = number_from(product, "SELECT tokens_in + tokens_out FROM usage_request WHERE endpoint = ?", name)
    assert tokens == answer.body["usage"]["total_tokens"]
    assert in_minutes(product, name) == 1


def test_each_answer_is_one_row_however_often_the_worker_and_beat_are_killed(
    product: Product, owner: Person, deploy: Deploy
):
    name = deploy()
    with query_in_background(owner, name) as queries:
        for part in (WORKER, BEAT, WORKER, WORKER):
            queries.wait_for_more(100)
            killed = product.kill(part)
            product.wait_for_replacement(part, killed)
    answered = len(queries.answers)
    assert queries.statuses == {200}
    wait_until(lambda: rows(product, name) >= answered, what="all rows", seconds=SOON)
    assert rows(product, name) == different(product, name) == in_minutes(product, name) == answered
    wait_until(lambda: spool_is_empty(product), what="an empty spool", seconds=SOON)


def test_every_answer_before_the_server_was_killed_has_a_row(product: Product, owner: Person, deploy: Deploy):
    """A row is written before the last byte of the answer, so there may be one more row than complete answers."""
    name = deploy()
    with query_in_background(owner, name) as queries:
        queries.wait_for_more(100)
        killed = product.kill(SERVER)
        product.wait_for_replacement(SERVER, killed)
        wait_until(lambda: queries.answers[-1].status == 200, what="answers of the next server")
        queries.wait_for_more(50)
    answered = sum(1 for answer in queries.answers if answer.status == 200)
    wait_until(lambda: rows(product, name) >= answered, what="all rows", seconds=SOON)
    wait_until(lambda: spool_is_empty(product), what="an empty spool", seconds=SOON)
    assert rows(product, name) == different(product, name) == in_minutes(product, name)
    assert answered <= rows(product, name) <= answered + 1


def test_no_row_is_lost_while_the_database_is_locked(product: Product, owner: Person, deploy: Deploy):
    name = deploy()
    with sqlite3.connect(product.data / "serving_ui.sqlite3", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        with query_in_background(owner, name) as queries:
            queries.wait_for_more(300)
        database.execute("ROLLBACK")
    database.close()
    answered = len(queries.answers)
    wait_until(lambda: rows(product, name) >= answered, what="all rows", seconds=SOON)
    assert rows(product, name) == in_minutes(product, name) == answered


def test_rows_are_stored_after_the_worker_was_suspended(product: Product, owner: Person, deploy: Deploy):
    name = deploy()
    with suspended(product.program.process.pid, product.process(WORKER)):
        with query_in_background(owner, name) as queries:
            queries.wait_for_more(100)
        assert rows(product, name) == 0
    wait_until(lambda: rows(product, name) == len(queries.answers), what="all rows", seconds=SOON)


def test_metrics_have_the_same_counts_and_are_for_admins_only(
    product: Product, owner: Person, deploy: Deploy
):
    name = deploy()
    for _ in range(3):
        owner.query(name)
    admin = product.command("create_token", "metrics@example.com", "--admin")
    stranger = product.command("create_token", "stranger@example.com")
    address = f"{product.url}/metrics"

    def get_metrics(token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(address, headers=headers, timeout=60)

    wait_until(lambda: get_metrics(admin).status_code == 200, what="the admin's token to be known")
    assert get_metrics("").status_code == 401
    wait_until(lambda: get_metrics(stranger).status_code == 403, what="the stranger's token to be known")
    families = {family.name: family for family in text_string_to_metric_families(get_metrics(admin).text)}
    counted = {
        (sample.labels["endpoint"], sample.labels["status"]): sample.value
        for sample in families["serving_ui_requests"].samples
    }
    assert counted[name, "200"] == 3
    assert families["serving_ui_gateway_overhead_seconds"].type == "histogram"
    assert families["serving_ui_snapshot_revision"].samples[0].value > 0
