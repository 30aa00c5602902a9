"""Reads settings from the environment, prefix `SERVING_UI_`.

A value that cannot be understood raises EnvError with a sentence: the product never starts on a guess.
`NAME_FILE` may name a file that holds the value, as container platforms mount secrets.
"""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "SERVING_UI_"
_CENTURY = 36_500
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class EnvError(ValueError):
    """A setting has a value that cannot be used. The text says which and what would be right."""


def text(name: str, default: str = "") -> str:
    """The value of SERVING_UI_<name>, else the content of the file named by SERVING_UI_<name>_FILE, else `default`."""
    value = os.environ.get(PREFIX + name)
    if value is not None:
        return value.strip()
    file = os.environ.get(f"{PREFIX}{name}_FILE")
    if not file:
        return default
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise EnvError(f"{PREFIX}{name}_FILE names {file}, which cannot be read: {error.strerror}.") from None


def flag(name: str, default: bool) -> bool:
    """A yes/no setting."""
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE or value in FALSE:
        return value in TRUE
    raise EnvError(f"{PREFIX}{name} is {value!r}. Use 1 or 0.")


def integer(name: str, default: int) -> int:
    """A whole number."""
    value = text(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise EnvError(f"{PREFIX}{name} is {value!r}. Use a whole number.") from None


def days(name: str, default: int, *, least: int = 1) -> int:
    """A number of days, `least` to a hundred years."""
    value = integer(name, default)
    if not least <= value <= _CENTURY:
        raise EnvError(f"{PREFIX}{name} is {value}. Use a number of days from {least} to {_CENTURY}.")
    return value


def choice(name: str, values: tuple[str, ...]) -> str:
    """One of these words; the first is the default."""
    value = text(name).lower() or values[0]
    if value not in values:
        raise EnvError(f"{PREFIX}{name} is {value!r}. Use {' or '.join(values)}.")
    return value


def listing(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Values separated by commas."""
    value = text(name)
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else default


def starting_with(name: str) -> dict[str, str]:
    """Every setting whose name starts with SERVING_UI_<name>, by the rest of its name."""
    start = PREFIX + name
    return {key[len(start) :]: value.strip() for key, value in os.environ.items() if key.startswith(start)}
