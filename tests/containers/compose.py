"""Parses compose.yaml as Compose does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.architecture.sources import ROOT

COMPOSE = ROOT / "compose.yaml"
DOCKERFILE = ROOT / "Dockerfile"
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?P<operator>:-|:\?)?(?P<text>[^}]*)\})")


class VariableMissing(ValueError):
    """A variable that compose.yaml requires (`${NAME:?…}`) is not set."""


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with all variables replaced. Raises VariableMissing."""
    content: dict[str, Any] = _replace(yaml.safe_load(COMPOSE.read_text()), environment)
    return content


def variables() -> dict[str, str]:
    """Each `${NAME…}` of the file with its operator: `:?` is required, `:-` has a default."""
    text = "\n".join(line for line in COMPOSE.read_text().splitlines() if not line.startswith("#"))
    return {found["name"]: found["operator"] or "" for found in _VARIABLE.finditer(text) if found["name"]}


def _replace(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replace(inner, environment) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replace(inner, environment) for inner in value]
    if not isinstance(value, str):
        return value

    def text_of(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "$"
        if environment.get(name):
            return environment[name]
        if found["operator"] == ":?":
            raise VariableMissing(f"{name} {found['text']}")
        return found["text"]

    return _VARIABLE.sub(text_of, value)
