"""What people read about a deployment on Ray: the messages were recorded from Ray 2.60."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.backends.protocol import Progress
from serving_ui.backends.ray_serve.status import PROCESS_DIED, observation

TRACEBACK = "A replica failed to start with exception. Retrying 2 more time(s). Error:\n\x1b[36mray::a:Model\x1b[39m\n  File x\n"
LACKING = (
    'Deployment "Model" has 1 replicas that have taken more than 30s to be scheduled. Resources required for each replica: '
    '{"CPU": 64}, total resources available: {"CPU": 3.8}. Use `ray status` for more details.'
)
DIED = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR\n(1) by OOM killer\n(2) other"
PIP = "Runtime env setup for app 'x' failed:\nERROR: No matching distribution found for no-such\nmore"


def details(status: str, message: str = "", deployment: str = "") -> dict[str, Any]:
    return {
        "status": status,
        "message": message,
        "deployments": {"Model": {"status": status, "message": deployment}},
    }


@pytest.mark.parametrize(
    ("found", "progress", "message"),
    [
        ({"status": "DEPLOYING", "deployments": {}}, Progress.DEPLOYING, "Ray prepares the application."),
        (details("DEPLOYING"), Progress.DEPLOYING, "The model is loading."),
        (
            details("DEPLOYING", deployment=LACKING),
            Progress.DEPLOYING,
            "One replica asks for 64 CPUs, and the cluster has 3.8. Choose a smaller compute type, or add nodes to the cluster.",
        ),
        (
            details("DEPLOYING", deployment=TRACEBACK + "ValueError: no weights"),
            Progress.DEPLOYING,
            "The model did not load and is tried again: ValueError: no weights",
        ),
        (
            details("DEPLOY_FAILED", "Failed to update", TRACEBACK + "torch.OutOfMemoryError: full"),
            Progress.FAILED,
            "OutOfMemoryError: full",
        ),
        (
            details("DEPLOY_FAILED", "Failed to update", TRACEBACK + DIED),
            Progress.FAILED,
            PROCESS_DIED,
        ),
        (
            {"status": "DEPLOY_FAILED", "message": "Deploying app 'x' failed\nModuleNotFoundError: No module named 'a.b'"},
            Progress.FAILED,
            "The package a.b is missing. Add it to the packages of the model, or to the environment of the cluster.",
        ),
        (
            {"status": "DEPLOY_FAILED", "message": PIP},
            Progress.FAILED,
            "A package could not be installed: No matching distribution found for no-such",
        ),
        ({"status": "UNHEALTHY"}, Progress.DEPLOYING, "A replica has failed, and Ray starts another."),
    ],
)  # fmt: skip
def test_a_status_is_told_in_a_sentence(found: dict[str, Any], progress: Progress, message: str):
    told = observation(found)
    assert (told.progress, told.message) == (progress, message)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"status": 5, "deployments": []},
        {"status": "DEPLOYING", "deployments": {"Model": None}},
        {"status": "RUNNING", "deployments": {"Model": {"replicas": {"a": 1}, "recent_dead_replicas": "x"}}},
        {"status": "DEPLOYING", "deployments": {"Model": {"message": LACKING.replace("64", '"many"')}}},
        {"status": "DEPLOY_FAILED", "message": None, "deployments": {"Model": {"message": 7}}},
    ],
)
def test_an_unexpected_status_raises_nothing(found: dict[str, Any]):
    assert observation(found).progress in (Progress.DEPLOYING, Progress.READY, Progress.FAILED)
