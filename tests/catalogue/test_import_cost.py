"""Importing the catalogue and the gateway loads no heavy package, so that processes start fast and stay small."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        "aiohttp",
        "anthropic",
        "boto3",
        "botocore",
        "celery",
        "cohere",
        "cryptography",
        "django",
        "google",
        "grpc",
        "httpx",
        "kombu",
        "mlflow",
        "openai",
        "opentelemetry",
        "prometheus_client",
        "psycopg",
        "redis",
        "requests",
    }
)
"""What neither may bring along. Botocore and google.auth sign for those only who have such an endpoint."""
OF_THE_CATALOGUE = HEAVY | {"asyncio", "multiprocessing", "serving_ui.gateway", "sqlite3", "unittest"}
"""The catalogue is pure: it has no use for sockets and loops either."""


def loaded_modules(module: str) -> set[str]:
    """The modules that a new process has loaded after it imported the module, and their packages."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert module in names
    return {name.rpartition(".")[0] for name in names} | set(names)


@pytest.mark.parametrize("module", ["serving_ui.catalogue.spec", "serving_ui.catalogue.registry"])
def test_importing_the_catalogue_loads_no_heavy_package(module: str) -> None:
    assert sorted(OF_THE_CATALOGUE & loaded_modules(module)) == []


def test_importing_the_gateway_loads_no_heavy_package() -> None:
    assert sorted(HEAVY & loaded_modules("serving_ui.gateway.app")) == []


def test_the_heavy_packages_are_installed() -> None:
    """Otherwise the tests above could not fail."""
    assert {"django", "asyncio"} <= loaded_modules("django.core.handlers.asgi")
    assert {"botocore", "serving_ui.gateway"} <= loaded_modules("serving_ui.gateway.aws_signing")
