"""The host and port on which `up` and `gateway` listen, and how settings and child processes learn of them."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from serving_ui.lib import env

HOST = "127.0.0.1"
PORT = 8080
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- compared, not bound


@dataclass(frozen=True)
class ListenAddress:
    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host at which this machine itself reaches the server."""
        return _LOOPBACK_OF.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The URL to show to people."""
        return _url(self.host, self.port)

    @property
    def url_host(self) -> str:
        """The host as in a request's Host header."""
        return _host_in_url(self.host)

    @property
    def local_url(self) -> str:
        """The URL at which this machine itself reaches the server."""
        return _url(self.reachable_host, self.port)


def add_arguments(parser: argparse.ArgumentParser, *, port: str = "") -> None:
    """Add --host and --port. `port` is the default in place of SERVING_UI_PORT."""
    host, number = env.host("HOST", HOST), port or str(env.port("PORT", PORT))
    parser.add_argument("--host", default=host, help=f"address to listen on (default {host})")
    parser.add_argument("--port", default=number, type=_port, help=f"port to listen on (default {number})")


def parse(arguments: list[str], *, command: str = "up") -> ListenAddress:
    """Read --host and --port before Django is set up. Django's command line rejects unknown arguments later."""
    parser = argparse.ArgumentParser(prog=f"manage.py {command}", add_help=False)
    add_arguments(parser)
    known, _ = parser.parse_known_args(arguments)
    return ListenAddress(host=known.host, port=known.port)


def export(address: ListenAddress) -> None:
    """Set the environment variables of the settings that follow from the address. Those that are set already stay."""
    set_variable("HOST", address.host)
    set_variable("PORT", str(address.port))
    for name in ("BASE_URL_SANDBOX", "GATEWAY_URL"):
        if not env.text(name):
            set_variable(name, address.local_url)


def set_variable(name: str, value: str) -> None:
    """Set a setting for this process and its children, also if it came from a file (`…_FILE`)."""
    os.environ.pop(f"{env.PREFIX}{name}_FILE", None)
    os.environ[env.PREFIX + name] = value


def _url(host: str, port: int) -> str:
    return f"http://{_host_in_url(host)}:{port}"


def _host_in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a port. Give a number from 1 to 65535.")
