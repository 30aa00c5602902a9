"""Lays out values as a person would write them: JSON for the shell, literals for Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LINE = 72


def as_python(value: Any) -> str:
    """With a comma at the end of each line."""
    return _laid_out(value, python=True)


def as_json(value: Any) -> str:
    """The same as JSON."""
    return _laid_out(value, python=False)


def _laid_out(value: Any, *, python: bool) -> str:
    """Over several lines, with small objects and lists on one."""
    whole = _on_one_line(value, python=python)
    if len(whole) <= LINE and not _is_deep(value):
        return whole
    if isinstance(value, Mapping):
        parts = [f"{_text(name)}: {_laid_out(each, python=python)}" for name, each in value.items()]
        return "{" + _block(parts, python=python) + "}"
    if isinstance(value, list):
        return "[" + _block([_laid_out(each, python=python) for each in value], python=python) + "]"
    return whole


def _block(parts: list[str], *, python: bool) -> str:
    inside = ",\n".join(parts) + ("," if python else "")
    return "\n    " + inside.replace("\n", "\n    ") + "\n"


def _is_deep(value: Any) -> bool:
    """Whether an object has a filled object or list in it."""
    inside = value.values() if isinstance(value, Mapping) else ()
    return any(isinstance(each, Mapping | list) and each for each in inside)


def _on_one_line(value: Any, *, python: bool) -> str:
    if isinstance(value, Mapping):
        inside = (f"{_text(name)}: {_on_one_line(each, python=python)}" for name, each in value.items())
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_on_one_line(each, python=python) for each in value) + "]"
    if isinstance(value, str):
        return _text(value)
    return repr(value) if python else json.dumps(value)


def _text(value: str) -> str:
    """A string, which JSON and Python spell alike."""
    return json.dumps(value, ensure_ascii=False)
