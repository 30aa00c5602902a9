"""Deployments that fail or cannot start: when that is shown, and in which words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from serving_ui.backends.ray_serve.status import LOADING, PROCESS_DIED
from tests.engines.admin import Admin, entity
from tests.engines.polling import limit, wait_until
from tests.support.product import Product

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
CANARY = "hf_canary_value"
END_DEADLINE = """
from serving_ui.endpoints.models import ConfigVersion
ConfigVersion.objects.filter(endpoint__name="slow").update(deadline="2000-01-01T00:00:00Z")
"""


@dataclass(frozen=True)
class Shown:
    """`seconds` after the submit."""

    seconds: float
    message: str


def show(admin: Admin, name: str, is_shown: Callable[[], Any], *entities: dict[str, Any]) -> Shown:
    """Create the endpoint, and wait until something of it is shown."""
    began = time.monotonic()
    admin.create(name, *entities)
    wait_until(is_shown, what=name, seconds=limit(60))
    return Shown(time.monotonic() - began, admin.message(name))


@pytest.fixture(scope="module")
def shown(admin: Admin) -> Iterator[dict[str, Future[Shown]]]:
    """What is shown of each endpoint. They wait for Ray at the same time, apart from the one whose seconds are limited."""
    admin.ok("POST", "secrets/scopes/create", {"scope": "hub"})
    admin.ok("POST", "secrets/put", {"scope": "hub", "key": "token", "string_value": CANARY})
    admin.register("killed")
    admin.register("unknown", location="tests.engines.models:Unknown")
    admin.register("elsewhere", location="no_such_package:Model")
    admin.register("packaged", location="tests.engines.models:Versioned", packages=["./no-such-file.whl"])
    admin.register("unwritten", kind="llama_cpp", location="/nowhere/model.gguf", task="llm/v1/chat")
    secret = {"HUB_TOKEN": "{{secrets/hub/token}}"}

    with ThreadPoolExecutor(10) as pool:

        def begin(model: str, is_shown: Callable[[], Any] | None = None, **fields: Any) -> Future[Shown]:
            condition = is_shown or (lambda: admin.has_failed(model))
            return pool.submit(show, admin, model, condition, entity(model=model, **fields))

        found = {"broken": begin("broken", environment_vars=secret)}
        found["versioned"] = begin(
            "versioned", lambda: "GPU" in admin.message("versioned"), workload_type="GPU_XLARGE_8"
        )
        found["slow"] = begin("slow", lambda: admin.message("slow") == LOADING)
        found["broken"].result()
        for model in ("killed", "unknown", "elsewhere", "packaged", "unwritten"):
            found[model] = begin(model)
        yield found


@pytest.fixture
def message(shown: dict[str, Future[Shown]], admin: Admin) -> Callable[[str], str]:
    """The reason of a failed deployment, which is also in its event."""

    def read(name: str) -> str:
        reason = shown[name].result().message
        assert admin.get(name)["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
        assert admin.query(name, {}).status_code == 400
        kind, text = admin.events(name)[0]
        assert kind == "ENDPOINT_UPDATE_FAILED_EVENT"
        assert text == f"Configuration version 1 failed. {reason}"
        return reason

    return read


def test_a_model_that_does_not_load_is_told_within_15_seconds_without_its_secrets(
    shown: dict[str, Future[Shown]], message: Callable[[str], str], admin: Admin
):
    assert message("broken") == "ValueError: the weights are damaged, said [secret]"
    assert shown["broken"].result().seconds <= limit(15)
    part = "serving-endpoints/broken/served-models/broken-1"
    logs = admin.ok("GET", f"{part}/logs")["logs"]
    assert "the weights are damaged" in logs
    assert CANARY not in logs
    assert "Importing application" in admin.ok("GET", f"{part}/build-logs")["logs"]


def test_a_model_that_is_killed_while_it_loads_says_that_memory_may_be_missing(
    message: Callable[[str], str],
):
    assert message("killed") == PROCESS_DIED


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unknown", "TypeError: tests.engines.models:Unknown is not a subclass of ServedModel."),
        (
            "elsewhere",
            "The package no_such_package is missing. Add it to the packages of the model, or to the environment of the cluster.",
        ),
        ("unwritten", "FileNotFoundError: There is no GGUF file /nowhere/model.gguf on this node."),
    ],
)
def test_what_is_wrong_with_a_model_is_named(name: str, reason: str, message: Callable[[str], str]):
    assert message(name) == reason


def test_a_package_that_cannot_be_installed_is_named(message: Callable[[str], str]):
    assert message("packaged").startswith("A package could not be installed: ")
    assert "no-such-file.whl" in message("packaged")


def test_compute_that_the_cluster_lacks_is_explained_within_35_seconds(
    shown: dict[str, Future[Shown]], admin: Admin
):
    found = shown["versioned"].result()
    assert found.message.startswith("One replica asks for 64 CPUs, and the cluster has ")
    assert "8 GPUs, and the cluster has 0." in found.message
    assert found.seconds <= limit(35)
    assert admin.get("versioned")["state"]["config_update"] == "IN_PROGRESS"


def test_a_model_that_loads_for_too_long_fails_at_the_deadline(
    shown: dict[str, Future[Shown]], product: Product, admin: Admin
):
    shown["slow"].result()
    product.command("shell", "--command", END_DEADLINE)
    wait_until(lambda: admin.has_failed("slow"), what="the end of the update", seconds=limit(60))
    assert admin.message("slow").startswith(f"{LOADING} Gave up after ")
