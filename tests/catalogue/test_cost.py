"""The catalogue is cheap to import, brings nothing heavy along, and reads a config in well under a millisecond."""

from __future__ import annotations

import subprocess
import sys
import time

from serving_ui.catalogue.spec import parse_endpoint
from tests.catalogue.samples import endpoint_body

# What must never come along. Some of pydantic's own imports are of the standard library only.
HEAVY = (
    "django",
    "celery",
    "requests",
    "aiohttp",
    "httpx",
    "botocore",
    "google.auth",
    "cryptography",
    "asyncio",
)


def test_importing_brings_nothing_heavy() -> None:
    code = "import sys, serving_ui.catalogue.spec; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []


def test_importing_is_quick() -> None:
    """Beyond pydantic itself: the best of three, because this machine has other work too."""
    code = "import pydantic, time; t = time.perf_counter(); import serving_ui.catalogue.spec; print(time.perf_counter() - t)"
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(took) < 0.5


def test_a_config_is_read_in_less_than_a_millisecond() -> None:
    body = endpoint_body(tags=[{"key": "team", "value": "a"}], rate_limits=[{"calls": 5}])
    took = []
    for _ in range(50):
        start = time.perf_counter()
        parse_endpoint(body)
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.001
