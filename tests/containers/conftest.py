"""One running project of compose.yaml for all tests with the mark `containers`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest import MonkeyPatch, TempPathFactory

from tests.containers.images import built_images
from tests.containers.stack import Stack, podman
from tests.support.waiting import free_port

# A container's limits cannot be higher than those of this process.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
[network]
network_backend = "netavark"
"""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: TempPathFactory) -> Iterator[None]:
    """podman with settings that work without systemd and without more rights than this process has."""
    file = tmp_path_factory.mktemp("containers") / "containers.conf"
    file.write_text(CONTAINERS_CONF)
    with MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", os.environ.get("CONTAINERS_CONF", str(file)))
        yield


@pytest.fixture(scope="session")
def image(engine: None) -> Iterator[str]:
    name = "localhost/serving-ui-test"
    with built_images(name):
        yield name


@pytest.fixture(scope="session")
def site() -> str:
    """The address of the proxy on this machine."""
    return f"http://localhost:{free_port()}"


@pytest.fixture(scope="session")
def stack(image: str, site: str) -> Iterator[Stack]:
    address = site.removeprefix("http://").replace("localhost", "127.0.0.1")
    running = Stack(
        f"serving-ui-test-{os.getpid()}",
        {
            "POSTGRES_PASSWORD": secrets.token_hex(24),
            "REDIS_PASSWORD": secrets.token_hex(24),
            "HTTP_PORT": address,
            "HTTPS_PORT": f"127.0.0.1:{free_port()}",
            "SERVING_UI_PUBLIC_URL": site,
        },
    )
    for service in running.services.values():
        if "build" in service:
            service["image"] = image
    try:
        running.up()
        yield running
    finally:
        running.down()


@pytest.fixture
def key_files(tmp_path: Path) -> Path:
    """A folder with keys that any user of a container may read."""
    (tmp_path / "secret_key").write_text(secrets.token_urlsafe(50))
    fernet = "import secrets; from cryptography.fernet import Fernet; print(secrets.token_hex(4), Fernet.generate_key().decode())"
    made = podman("run", "--rm", "--no-healthcheck", "localhost/serving-ui-test", "python", "-c", fernet)
    (tmp_path / "vault_keys").write_text(made.stdout)
    tmp_path.chmod(0o755)
    return tmp_path
