"""Importing the catalogue and the gateway brings nothing heavy along, so that a process starts soon and stays small."""

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


def loaded(module: str) -> set[str]:
    """What is loaded once a fresh process has imported the module, each with what it is in."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert module in names
    return {name.rpartition(".")[0] for name in names} | set(names)


@pytest.mark.parametrize("module", ["serving_ui.catalogue.spec", "serving_ui.catalogue.registry"])
def test_importing_the_catalogue_brings_nothing_heavy(module: str) -> None:
    assert sorted(OF_THE_CATALOGUE & loaded(module)) == []


def test_importing_the_gateway_brings_nothing_heavy() -> None:
    assert sorted(HEAVY & loaded("serving_ui.gateway.app")) == []


def test_what_would_be_heavy_is_installed() -> None:
    """Else the tests above could not fail."""
    assert {"django", "asyncio"} <= loaded("django.core.handlers.asgi")
    assert {"botocore", "serving_ui.gateway"} <= loaded("serving_ui.gateway.aws_signing")
