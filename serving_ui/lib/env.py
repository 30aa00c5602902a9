"""Reads settings from the environment, prefix `SERVING_UI_`.

A value that cannot be used raises EnvError with a sentence, so that the product does not start. `NAME_FILE` may name a file that
holds the value, as container platforms mount secrets. Imports only the standard library, because settings are read before any
package is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

PREFIX = "SERVING_UI_"
_MAX_DAYS = 36_500
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})

_read: set[str] = set()
_described: dict[str, Setting] = {}


class Note(TypedDict, total=False):
    """The documentation of a setting, declared where the setting is read."""

    about: str
    """What the setting does, in Markdown."""
    shown: str
    """The default as shown in the documentation, if that differs from the value."""


@dataclass(frozen=True)
class Setting:
    """One row of the settings table in the documentation."""

    name: str
    default: str
    about: str


class EnvError(ValueError):
    """A setting has a value that cannot be used. The text names the setting and an allowed value."""


def text(name: str, default: str = "", **note: Unpack[Note]) -> str:
    """The value of SERVING_UI_<name>, else the content of the file named by SERVING_UI_<name>_FILE, else `default`.
    An empty value counts as not set."""
    _read.add(name)
    _describe(name, default, note)
    value = os.environ.get(PREFIX + name, "").strip()
    file = os.environ.get(f"{PREFIX}{name}_FILE", "").strip()
    if value and file:
        raise EnvError(f"{PREFIX}{name} and {PREFIX}{name}_FILE are both set. Leave one of them out.")
    return (_content(name, file) if file else value) or default


def token(name: str, **note: Unpack[Note]) -> str:
    """A token that is sent in a header; empty if it is not set."""
    value = text(name, **note)
    if value and not re.fullmatch(r"[!-~]+", value):
        raise EnvError(
            f"{PREFIX}{name} has a character that cannot be sent in a header. Use letters, digits and ASCII punctuation."
        )
    return value


def _describe(name: str, default: str, note: Note) -> None:
    if about := note.get("about"):
        _described[name] = Setting(name, note.get("shown", default), about)


def _with_default(note: Note, default: object) -> Note:
    return {"shown": str(default), **note}


def _content(name: str, file: str) -> str:
    try:
        content = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise EnvError(f"{PREFIX}{name}_FILE names {file}, which cannot be read: {error.strerror}.") from None
    except ValueError:
        raise EnvError(f"{PREFIX}{name}_FILE names {file}, which is not UTF-8 text.") from None
    if not content:
        raise EnvError(f"{PREFIX}{name}_FILE names {file}, which is empty. Put the value into it.")
    return content


def described() -> tuple[Setting, ...]:
    """Every setting that was read with a description, in the order of reading."""
    return tuple(_described.values())


def known_settings() -> frozenset[str]:
    """The names of all settings that have been read, without the prefix."""
    return frozenset(_read)


def unknown_settings() -> list[str]:
    """Environment variables with the prefix that are no setting. Call it after every setting has been read."""
    ours = {PREFIX + name + end for name in _read for end in ("", "_FILE")}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in ours)


def unknown_settings_warning() -> str:
    """A sentence about unknown settings, such as a misspelt name; empty if there are none. No error, because a newer version may
    have the setting, and some platforms set variables named after a service."""
    warnings = []
    for name in unknown_settings():
        similar = get_close_matches(name.removeprefix(PREFIX), _read, n=1, cutoff=0.75)
        warnings.append(f"{name} (is {PREFIX}{similar[0]} meant?)" if similar else name)
    return f"Ignored, because no setting has this name: {', '.join(warnings)}." if warnings else ""


def flag(name: str, default: bool, **note: Unpack[Note]) -> bool:
    """A yes/no setting."""
    value = text(name, **_with_default(note, int(default))).lower()
    if not value:
        return default
    if value in TRUE or value in FALSE:
        return value in TRUE
    raise EnvError(f"{PREFIX}{name} is {value!r}. Use 1 or 0.")


def integer(
    name: str, default: int, *, minimum: int | None = None, maximum: int | None = None, **note: Unpack[Note]
) -> int:
    """A whole number within the bounds, which are inclusive."""
    value = text(name, **_with_default(note, default))
    if not value:
        return default
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise EnvError(f"{PREFIX}{name} is {value!r}. Use a whole number.")
    number = int(value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f"from {minimum} to {maximum}" if maximum is not None else f"of {minimum} or more"
        raise EnvError(f"{PREFIX}{name} is {number}. Use a number {bounds}.")
    return number


def port(name: str, default: int, **note: Unpack[Note]) -> int:
    """A TCP port."""
    return integer(name, default, minimum=1, maximum=65535, **note)


def days(name: str, default: int, *, minimum: int = 1, **note: Unpack[Note]) -> int:
    """A number of days, from `minimum` to a hundred years."""
    value = integer(name, default, **note)
    if not minimum <= value <= _MAX_DAYS:
        raise EnvError(f"{PREFIX}{name} is {value}. Use a number of days from {minimum} to {_MAX_DAYS}.")
    return value


def byte_size(name: str, default: int, **note: Unpack[Note]) -> int:
    """A number of bytes, 64 kB to 1 GB."""
    return integer(name, default, minimum=64 * 1024, maximum=1024**3, **note)


def choice(name: str, values: tuple[str, ...], **note: Unpack[Note]) -> str:
    """One of `values`; the first is the default."""
    value = text(name, **_with_default(note, values[0])).lower() or values[0]
    if value not in values:
        raise EnvError(f"{PREFIX}{name} is {value!r}. Use {' or '.join(values)}.")
    return value


def comma_separated(name: str, default: tuple[str, ...] = (), **note: Unpack[Note]) -> tuple[str, ...]:
    """Values separated by commas."""
    value = text(name, **_with_default(note, ", ".join(default)))
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else default


def host(name: str, default: str, **note: Unpack[Note]) -> str:
    """A host name or an IP address to listen on."""
    value = text(name, default, **note)
    if is_host(value):
        return value
    raise EnvError(f"{PREFIX}{name} is {value!r}. Use an address of this machine, such as 127.0.0.1, alone.")


def hosts(name: str, default: tuple[str, ...] = (), **note: Unpack[Note]) -> list[str]:
    """Values for ALLOWED_HOSTS of Django: IPv6 in brackets, `.example.com` for all subdomains."""
    found = []
    for entry in comma_separated(name, default, **note):
        plain = entry.removeprefix("[").removesuffix("]")
        if entry == "*":
            raise EnvError(
                f"{PREFIX}{name} holds '*', with which anybody could have this server answer under a name of theirs. "
                "Name the hosts, separated by commas, or .example.com for all of a domain."
            )
        if not is_host(entry.removeprefix(".")) and not _is_ipv6(plain):
            raise EnvError(
                f"{PREFIX}{name} holds {entry!r}. Use host names without scheme, port and path, separated by commas, "
                "such as serving.example.com."
            )
        found.append(f"[{plain}]" if _is_ipv6(plain) else entry)
    return found


def is_host(value: str) -> bool:
    """Whether the value is a host name or an IP address without brackets."""
    return bool(_HOST_NAME.fullmatch(value)) or _is_ipv6(value)


def _is_ipv6(value: str) -> bool:
    try:
        return isinstance(ip_address(value), IPv6Address)
    except ValueError:
        return False


def url(name: str, *, with_path: bool = False, **note: Unpack[Note]) -> str:
    """An http(s) URL without a trailing slash; empty if it is not set. An error contains the value only if it has no `@`, so that no
    password is shown."""
    value = text(name, **note)
    return _checked_url(name, value, with_path=with_path) if value else ""


def url_list(name: str, **note: Unpack[Note]) -> tuple[str, ...]:
    """http(s) URLs without a path, separated by commas."""
    return tuple(_checked_url(name, value, with_path=False) for value in comma_separated(name, **note))


def _checked_url(name: str, value: str, *, with_path: bool) -> str:
    """Without a trailing slash. Raises EnvError."""
    parts = split_url(value, ("http", "https"))
    path = parts.path.strip("/") if parts else ""
    if parts and not (parts.query or parts.fragment or "@" in parts.netloc or (path and not with_path)):
        return value.rstrip("/")
    shown = "holds a user name or a password" if "@" in value else f"is {value!r}"
    also = "" if with_path else " without a path"
    raise EnvError(
        f"{PREFIX}{name} {shown}. Use scheme, host and port{also}, such as https://serving.example.com or http://127.0.0.1:9000."
    )


def split_url(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """The parts of a URL with one of these schemes, a host and a valid port or none; None for everything else."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in schemes and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # the port is no number, or a bracket is missing
        return None
    return parts if is_url and not re.search(r"[\s\\\x00-\x1f]", url) else None


def urls(start: str, names: Iterable[str], *, about: str) -> dict[str, str]:
    """The URLs set as SERVING_UI_<start><NAME>, by name. In the setting, the name is upper case with `_` for `-`."""
    _describe(f"{start}<PROVIDER>", "", {"about": about})
    spelt = {start + name.upper().replace("-", "_"): name for name in names}
    found = {name: value for setting, name in spelt.items() if (value := url(setting))}
    for other in unknown_settings():
        if other.startswith(PREFIX + start):
            raise EnvError(
                f"{other} replaces no address. Use one of {', '.join(PREFIX + each for each in spelt)}."
            )
    return found


def networks(name: str, **note: Unpack[Note]) -> tuple[str, ...]:
    """Hosts, `host:port` or networks."""
    entries = comma_separated(name, **note)
    for entry in entries:
        if not (_is_network(entry) or _is_host_and_port(entry)):
            raise EnvError(
                f"{PREFIX}{name} holds {entry!r}. Use hosts, host:port or networks, separated by commas, such as "
                "models.internal, 10.0.0.5:8000 or 10.1.0.0/16."
            )
    return entries


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
    return True


def _is_host_and_port(entry: str) -> bool:
    parts = split_url(f"http://{entry}", ("http",))
    return parts is not None and parts.netloc == entry and "@" not in entry and not entry.endswith(":")
