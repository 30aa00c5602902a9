"""Dockerfile, compose.yaml and .dockerignore agree with the code and the documentation. Needs no podman."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from serving_ui.lib import env
from tests.architecture.sources import ROOT
from tests.containers import compose
from tests.containers.images import base

FILES = (compose.COMPOSE, compose.DOCKERFILE)
EVERY = dict.fromkeys(compose.variables(), "x")
SERVICES: dict[str, dict[str, Any]] = compose.load(EVERY)["services"]
ROLES = {name: service for name, service in SERVICES.items() if "build" in service}


def commands() -> list[list[str]]:
    """What the roles run, the image's own command included; `sh -c "a && b"` is two."""
    [own] = re.findall(r"^CMD \[(.*)\]$", compose.DOCKERFILE.read_text(), re.MULTILINE)
    found = [re.findall(r'"([^"]*)"', own)]
    for service in ROLES.values():
        command: list[str] = service["command"]
        parts = command[2].split(" && ") if command[:2] == ["sh", "-c"] else [shlex.join(command)]
        found += [shlex.split(part) for part in parts]
    return found


@pytest.mark.parametrize("command", commands(), ids=shlex.join)
def test_every_command_exists_with_its_options(command: list[str]):
    program, *arguments = command
    if program == "celery":
        arguments = ["-m", "celery", *arguments]
    if arguments[0] == "manage.py":
        arguments = ["-m", "django", *arguments[1:]]
    done = subprocess.run(
        [sys.executable, *arguments, "--help"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "serving_ui.settings", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    options = {each for each in arguments if each.startswith("--")} - {"--app"}  # read by celery itself
    assert not {option for option in options if option not in done.stdout}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_setting_in_compose_exists(file: Path):
    assert settings.configured  # reading the settings registers their names
    known = {env.PREFIX + name + end for name in env.known_settings() for end in ("", "_FILE")}
    assert set(re.findall(r"SERVING_UI_[A-Z_]+", file.read_text())) <= known


def test_every_image_has_a_fixed_version():
    images = [base(), *(service["image"] for service in SERVICES.values() if "build" not in service)]
    assert len(images) == 4
    assert all(re.search(r":(?!latest)[\w.-]*\d[\w.-]*$", image) for image in images), images


def test_no_password_has_a_default():
    passwords = {name: operator for name, operator in compose.variables().items() if "PASSWORD" in name}
    assert passwords == {"POSTGRES_PASSWORD": ":?", "REDIS_PASSWORD": ":?"}
    for name in passwords:
        with pytest.raises(compose.VariableMissing, match=name):
            compose.load({**EVERY, name: ""})


@pytest.mark.parametrize("role", ROLES)
def test_every_role_drops_capabilities_and_has_a_read_only_root(role: str):
    service = ROLES[role]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (service["volumes"], service["tmpfs"]) == (["data:/data"], ["/tmp"])
    assert "ports" not in service
    assert re.findall(r"^USER (.*)$", compose.DOCKERFILE.read_text(), re.MULTILINE) == ["10001:10001"]


def test_only_the_proxy_can_be_reached_and_only_from_this_machine():
    ports = {
        name: service["ports"]
        for name, service in compose.load(_required())["services"].items()
        if "ports" in service
    }
    assert ports == {"proxy": ["127.0.0.1:8080:8080", "127.0.0.1:8443:8443"]}


def test_what_the_image_copies_exists_and_is_not_ignored():
    text = compose.DOCKERFILE.read_text()
    sources = [
        name for line in re.findall(r"^COPY ([^-].*) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert "serving_ui" in sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch(source.split("/")[0], pattern) for pattern in allowed), source


def test_the_dockerfile_calls_the_function_that_manage_py_calls():
    [module, name] = re.findall(r"from (serving_ui[\w.]+) import (\w+)", compose.DOCKERFILE.read_text())[0]
    enter = getattr(importlib.import_module(module), name)
    assert enter.__code__.co_varnames[: enter.__code__.co_argcount + enter.__code__.co_kwonlyargcount] == (
        "root",
        "argv",
        "tests",
    )


def _required() -> dict[str, str]:
    return {name: "x" for name, operator in compose.variables().items() if operator == ":?"}
