"""The lock files: complete, with hashes, and without URLs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving_ui.bootstrap import install
from serving_ui.local_model import files
from serving_ui.processes import ray_cluster
from tests.architecture.sources import ROOT

LOCKS = (
    "requirements.lock",
    "tests/requirements.lock",
    ray_cluster.LOCK,
    files.LOCK_FILE,
    "tests/engines/requirements.lock",
)
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME, TEST = PROJECT["dependencies"], PROJECT["optional-dependencies"]["test"]
# The pip of Debian 12. It does not run on Python 3.12 and newer, which came with 23.2.1.
OLDEST_PIP = "23.0.1" if sys.version_info < (3, 12) else "23.2.1"


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


def normalised_names(*groups: list[str]) -> set[str]:
    """The normalised names of the requirements, as in the lock files."""
    names = (re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for group in groups for line in group)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_contains_no_url_and_no_path(lock):
    text = (ROOT / lock).read_text()
    assert not re.findall(r"\S*(?:://|--(?:extra-)?index-url|--find-links|--trusted-host| /)\S*", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock):
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    requirements = [block for block in blocks if PIN.match(block)]
    assert requirements
    assert not [block.splitlines()[0] for block in requirements if "--hash=sha256:" not in block]


def test_the_locks_contain_the_declared_dependencies():
    assert normalised_names(RUNTIME) <= set(pins("requirements.lock"))
    assert normalised_names(RUNTIME, TEST) <= set(pins("tests/requirements.lock"))


def test_the_test_lock_has_the_same_versions_as_the_product_lock():
    tests = pins("tests/requirements.lock")
    assert {name: tests.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


def missing(lock: str, declared: Iterable[str], python: str, machine: str) -> set[str]:
    """The requirements of packages in the lock, on such a machine, that the lock does not satisfy."""
    held = {canonicalize_name(name): version for name, version in pins(lock).items()}
    surroundings = {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "platform_machine": machine,
    }
    lacking: set[str] = set()
    seen: set[tuple[str, str]] = set()
    left = [Requirement(each) for each in declared]
    while left:
        needed = left.pop()
        name = canonicalize_name(needed.name)
        if name not in held or not needed.specifier.contains(held[name], prereleases=True):
            lacking.add(str(needed))
            continue
        for extra in {"", *needed.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            also = [Requirement(each) for each in distribution(name).requires or ()]
            there = {**surroundings, "extra": extra}
            left += [each for each in also if each.marker is None or each.marker.evaluate(there)]
    return lacking


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_locks_contain_the_dependencies_of_their_packages(python: str, machine: str):
    """pip installs the locks with --no-deps, so it would not notice a missing dependency."""
    assert missing("requirements.lock", RUNTIME, python, machine) == set()
    assert missing("tests/requirements.lock", [*RUNTIME, *TEST], python, machine) == set()


def test_a_missing_dependency_is_found():
    found = missing("requirements.lock", TEST, "3.11", "x86_64")
    assert {each.partition("~")[0] for each in found} >= {"pytest", "ruff"}


def test_pip_check_finds_no_broken_requirement():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n")


@pytest.mark.slow
@pytest.mark.installation
@pytest.mark.parametrize("lock", LOCKS)
def test_the_oldest_pip_installs_the_lock(tmp_path: Path, lock: str):
    """A dry run: it downloads all packages, which takes a minute of processor time for the tests' lock, and installs none."""
    python = str(tmp_path / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True, capture_output=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", f"pip=={OLDEST_PIP}"], check=True, capture_output=True)
    command = install.pip_command(str(ROOT), python, (lock,))
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    version = subprocess.run([*pip, "--version"], check=True, capture_output=True, text=True)
    assert version.stdout.startswith(f"pip {OLDEST_PIP} ")
