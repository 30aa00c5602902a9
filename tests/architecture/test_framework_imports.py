"""The catalogue, the gateway, the sandbox and the lifecycle import neither a web framework nor Celery."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

PURE = (
    "serving_ui.catalogue.registry",
    "serving_ui.gateway.app",
    "serving_ui.sandbox.app",
    "serving_ui.endpoints.lifecycle",
)


def loaded_by(module: str) -> set[str]:
    """The top-level packages that are loaded after a new Python process has imported the module."""
    code = f"import json, sys, {module}; print(json.dumps([n.partition('.')[0] for n in sys.modules]))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout))


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_no_framework(module):
    assert not loaded_by(module) & {"django", "celery", "kombu", "requests"}


def test_the_catalogue_imports_no_server_and_no_vendor_library():
    foreign = loaded_by("serving_ui.catalogue.registry") & {
        "aiohttp",
        "granian",
        "uvicorn",
        "botocore",
        "google",
    }
    assert not foreign


def test_the_bootstrap_needs_only_the_standard_library():
    """Without site-packages, as on a machine where nothing has been installed yet."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import serving_ui.bootstrap.environment, serving_ui.bootstrap.install"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
