"""The locks: complete, hashed, and free of any address."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.sources import ROOT

LOCKS = ("requirements.lock", "tests/requirements.lock")
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


def wanted(*groups: list[str]) -> set[str]:
    """The names of the requirements, as locks write them."""
    names = (re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for group in groups for line in group)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_folder(lock):
    text = (ROOT / lock).read_text()
    assert not re.findall(r"\S*(?:://|--(?:extra-)?index-url|--find-links|--trusted-host| /)\S*", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock):
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    requirements = [block for block in blocks if PIN.match(block)]
    assert requirements
    assert not [block.splitlines()[0] for block in requirements if "--hash=sha256:" not in block]


def test_the_locks_hold_what_the_project_declares():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime, test = project["dependencies"], project["optional-dependencies"]["test"]
    assert wanted(runtime) <= set(pins("requirements.lock"))
    assert wanted(runtime, test) <= set(pins("tests/requirements.lock"))


def test_the_test_lock_changes_no_version_of_the_product():
    tests = pins("tests/requirements.lock")
    assert {name: tests.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")
