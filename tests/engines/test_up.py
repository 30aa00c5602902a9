"""`manage.py up --ray`: a Ray cluster beside the product, on loopback, with a token, and nothing of it is left behind."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import requests

from tests.support.listening import listening_beyond_loopback
from tests.support.product import Product
from tests.support.waiting import command_line, descendants, is_alive, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
CLUSTER = "ray_serve.local_cluster"


@pytest.fixture
def product(tmp_path: Path, ray_python: str) -> Product:
    """Its data folder has the environment with Ray already."""
    product = Product(tmp_path)
    folder = product.data / "ray"
    folder.mkdir(parents=True)
    (folder / "environment").symlink_to(Path(ray_python).parent.parent)
    return product


def address(product: Product) -> str:
    found = re.search(r"--dashboard-port=(\d+)", command_line(product.process(CLUSTER)))
    assert found
    return f"http://127.0.0.1:{found[1]}/api/serve/applications/"


def serve_status(product: Product, token: str) -> int:
    try:
        return requests.get(
            address(product), headers={"Authorization": f"Bearer {token}"}, timeout=30
        ).status_code
    except requests.RequestException:
        return 0


def test_ray_listens_on_loopback_asks_for_its_token_restarts_and_ends_with_the_product(product: Product):
    with product.up("--ray"):
        token_file = product.data / "ray" / "token"
        token = token_file.read_text()
        assert token_file.stat().st_mode & 0o777 == 0o600
        wait_until(lambda: serve_status(product, token) == 200, what="Ray", seconds=120)
        assert serve_status(product, "another") in (401, 403)
        cluster = product.process(CLUSTER)
        processes = descendants(cluster)
        assert listening_beyond_loopback(processes) == {}
        assert not [each for each in product.program.descendants() if token in command_line(each)]

        head = next(each for each in processes if "gcs_server" in command_line(each))
        os.kill(head, signal.SIGKILL)
        wait_until(lambda: product.process(CLUSTER) != cluster, what="another cluster", seconds=60)
        wait_until(lambda: serve_status(product, token) == 200, what="Ray again", seconds=120)
        assert not [each for each in processes if is_alive(each)]

        processes = product.program.descendants()
        product.program.signal(signal.SIGTERM)
        assert product.program.wait_for_exit() == 0
        wait_until(lambda: not [each for each in processes if is_alive(each)], what="their end", seconds=5)


def test_nothing_is_left_when_everything_is_killed(product: Product):
    with product.up("--ray"):
        token = (product.data / "ray" / "token").read_text()
        wait_until(lambda: serve_status(product, token) == 200, what="Ray", seconds=120)
        processes = product.program.descendants()
        product.program.signal(signal.SIGKILL)
        wait_until(lambda: not [each for each in processes if is_alive(each)], what="their end", seconds=30)


def test_a_second_cluster_is_refused(product: Product):
    product.env["SERVING_UI_RAY_ADDRESS"] = "http://127.0.0.1:9"
    with pytest.raises(AssertionError, match="Leave out --ray"):
        with product.up("--ray"):
            pass
