"""One running product and one provider for all tests of this folder; each test creates its own endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.support.product import Person, Product
from tests.support.sandbox import SandboxServer, running_sandbox

Deploy = Callable[[], str]
_NUMBERS = count(1)


@pytest.fixture(scope="session")
def provider() -> Iterator[SandboxServer]:
    """The provider of every endpoint: a sandbox in which tests set faults."""
    with running_sandbox() as server:
        yield server


@pytest.fixture(autouse=True)
def well_behaved_provider(provider: SandboxServer) -> Iterator[None]:
    yield
    provider.reset()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("journeys")).up() as started:
        yield started


@pytest.fixture(scope="session")
def owner(product: Product) -> Iterator[Person]:
    with product.person("owner@example.com") as person:
        yield person


@pytest.fixture
def deploy(owner: Person, provider: SandboxServer) -> Deploy:
    """Creates an endpoint of gpt-4, waits until it is Ready, and returns its name."""

    def make() -> str:
        name = f"chat-{next(_NUMBERS)}"
        owner.create(name, base=provider.base)
        owner.wait_for_state(name, "Ready")
        return name

    return make
