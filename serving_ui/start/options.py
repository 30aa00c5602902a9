"""Where `up` listens, and how that is told to the settings and to the processes it starts."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from serving_ui.lib import env

HOST = "127.0.0.1"
PORT = 8080
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- recognised, not bound


@dataclass(frozen=True)
class Options:
    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The address at which this machine itself finds the server."""
        return _EVERY_ADDRESS.get(self.host, self.host)

    @property
    def url(self) -> str:
        """What a person opens."""
        return _url(self.host, self.port)

    @property
    def url_host(self) -> str:
        """The host as a request names it."""
        return _in_url(self.host)

    @property
    def local_url(self) -> str:
        """Where this machine itself finds the server."""
        return _url(self.reachable_host, self.port)


def add_arguments(parser: argparse.ArgumentParser, *, port: str = "") -> None:
    """The arguments of `up`, for its own early reading and for Django's command line; `port` is another default."""
    host, number = env.host("HOST", HOST), port or str(env.port("PORT", PORT))
    parser.add_argument("--host", default=host, help=f"address to listen on (default {host})")
    parser.add_argument("--port", default=number, type=_port, help=f"port to listen on (default {number})")


def read(arguments: list[str], *, command: str = "up") -> Options:
    """What a command was told, before Django exists. Anything else on the line is Django's to judge."""
    parser = argparse.ArgumentParser(prog=f"manage.py {command}", add_help=False)
    add_arguments(parser)
    known, _ = parser.parse_known_args(arguments)
    return Options(host=known.host, port=known.port)


def announce(options: Options) -> None:
    """Tell the settings, here and in every child, where the server is; what a person has set wins."""
    replace("HOST", options.host)
    replace("PORT", str(options.port))
    for name in ("BASE_URL_SANDBOX", "GATEWAY_URL"):
        if not env.text(name):
            replace(name, options.local_url)


def replace(name: str, value: str) -> None:
    """Set a setting, here and in every child, however it was set before."""
    os.environ.pop(f"{env.PREFIX}{name}_FILE", None)
    os.environ[env.PREFIX + name] = value


def _url(host: str, port: int) -> str:
    return f"http://{_in_url(host)}:{port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is no port; give a number from 1 to 65535.")
