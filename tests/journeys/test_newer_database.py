"""A database that a newer version has migrated: this version goes on working, and reports it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import separate_processes
from tests.support.gateways import running_gateways
from tests.support.product import Product
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
SENTENCE = "A newer version of Serving UI has migrated the database: this version lacks endpoints 9999_newer."


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    made = Product(tmp_path)
    separate_processes.prepare(made)
    yield made


def upgrade(product: Product) -> None:
    """Record a migration that this version does not know."""
    with closing(sqlite3.connect(product.data / "serving_ui.sqlite3", isolation_level=None)) as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('endpoints', '9999_newer', CURRENT_TIMESTAMP)"
        )


@pytest.mark.smoke
def test_running_processes_report_a_newer_database(product: Product):
    with separate_processes.running_server(product) as server, product.person("owner@example.com") as owner:
        assert SENTENCE not in owner.get("/readyz").text
        upgrade(product)
        wait_until(lambda: SENTENCE in owner.get("/readyz").text, what="the server to notice", seconds=120)
        wait_until(lambda: SENTENCE in server.text, what="the line in the log")


def test_every_command_that_starts_processes_reports_a_newer_database_and_goes_on(product: Product):
    upgrade(product)
    with separate_processes.running_server(product) as server:
        wait_until(lambda: SENTENCE in server.text, what="the line in the server's log")
    with running_gateways(env=product.env, size=1) as started:
        wait_until(lambda: SENTENCE in started.readiness().text, what="the report of the gateway")
        wait_until(lambda: SENTENCE in started.program.text, what="the line in the gateway's log")
    with product.up() as up:
        assert SENTENCE in up.program.text
