"""PostgreSQL, Redis, a product that uses both, and a second server of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from tests.architecture.sources import ROOT
from tests.support.product import Person, Product
from tests.support.program import running_program
from tests.support.sandbox import SandboxServer, running_sandbox
from tests.support.services import Service, running_postgresql, running_redis
from tests.support.waiting import free_port, wait_until


class Database(NamedTuple):
    """A PostgreSQL server and the address of the database on it."""

    service: Service
    url: str

    def another(self, name: str) -> str:
        """The address of an empty database on the same server."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url.rpartition("/")[0] + f"/{name}"


class Broker(NamedTuple):
    """A Redis server and its address."""

    service: Service
    url: str


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    with running_postgresql() as (service, url):
        yield Database(service, url)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running_redis() as (service, url):
        yield Broker(service, url)


@pytest.fixture(scope="session")
def provider() -> Iterator[SandboxServer]:
    with running_sandbox() as server:
        yield server


@pytest.fixture(autouse=True)
def well_behaved_provider(provider: SandboxServer) -> Iterator[None]:
    yield
    provider.reset()


@pytest.fixture(scope="session")
def product(
    tmp_path_factory: pytest.TempPathFactory, postgresql: Database, broker: Broker
) -> Iterator[Product]:
    settings = {"SERVING_UI_DATABASE_URL": postgresql.url, "SERVING_UI_BROKER_URL": broker.url}
    with Product(tmp_path_factory.mktemp("organisation"), **settings).up() as started:
        yield started


@pytest.fixture(scope="session")
def owner(product: Product) -> Iterator[Person]:
    with product.person("owner@example.com") as person:
        yield person


@pytest.fixture
def second(product: Product, owner: Person) -> Iterator[Person]:
    """The owner as a client of a second server of the same product."""
    port = free_port()
    env = {**product.env, "SERVING_UI_PORT": str(port), "PYTHONPATH": str(ROOT)}
    other = Product(product.data.parent)
    other.port, other.url = port, f"http://127.0.0.1:{port}"
    server = [sys.executable, "-m", "serving_ui.server", "--port", str(port)]
    with running_program(server, cwd=product.data.parent, env=env) as other.program:
        there = Person(other, owner.session, owner.token)
        wait_until(lambda: there.query("sandbox-chat").status == 200, what="the second server to answer")
        yield there
