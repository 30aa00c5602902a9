"""The port: known to be free before anything starts, and asked for readiness afterwards."""

from __future__ import annotations

import ctypes
import errno
import http.client
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from serving_ui.bootstrap.errors import StartError, reason
from serving_ui.start.options import Options

_SO_ATTACH_FILTER = 26  # Linux; Python has no name for it
# A filter of a listening socket sees the head of TCP: byte 13 has the flags, of which 2 asks for a connection. Those are dropped.
_NO_NEWCOMERS = b"".join(
    struct.pack("=HBBI", *step)
    for step in ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
ANSWER_SECONDS = 0.5  # the port is open before the server is there
_QUEUE_SECONDS = 5.0  # so long those who are connected are waited for
_LOOK_SECONDS = 0.02


def check_free(options: Options) -> None:
    """Bind the address once, as the server will, and let it go."""
    for family, kind, protocol, _, address in _addresses(options):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)  # two may bind, when both allow it; only one may listen
            except OSError as error:
                raise StartError(_sentence(options, error)) from None


def _addresses(options: Options) -> list[tuple[Any, ...]]:
    """What the host stands for on this machine, as socket.getaddrinfo has it."""
    try:
        found = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        raise StartError(
            f"{options.host} is no address of this machine. Give one with --host, such as 127.0.0.1."
        ) from None
    return list(dict.fromkeys(found))


def opened(options: Options, *, backlog: int) -> socket.socket:
    """The port, listening; it can be opened several times, and callers come to one or another."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server(
            (options.host, options.port), family=family, backlog=backlog, reuse_port=True
        )
    except OSError as error:
        raise StartError(_sentence(options, error)) from None


def opened_everywhere(options: Options, *, backlog: int) -> list[socket.socket]:
    """The port, listening on each address that the host stands for, such as both of localhost."""
    found: list[socket.socket] = []
    try:
        for family, _kind, _protocol, _name, address in _addresses(options):
            found.append(socket.create_server(address, family=family, backlog=backlog))
    except OSError as error:
        for each in found:
            each.close()
        raise StartError(_sentence(options, error)) from None
    return found


def let_in_who_waits(listeners: Sequence[socket.socket]) -> None:
    """Before these are closed: lets nobody else connect, and returns once those who have connected have been taken.

    Whoever is connected and still in the queue of a socket that is closed is cut off, and may have sent a request already.
    Whoever comes now hears nothing, asks again by themselves after a second, and is refused by the closed port.
    """
    steps = ctypes.create_string_buffer(_NO_NEWCOMERS, len(_NO_NEWCOMERS))
    program = struct.pack("HP", len(_NO_NEWCOMERS) // 8, ctypes.addressof(steps))
    with suppress(OSError):  # another system than Linux
        for each in listeners:
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    until = time.monotonic() + _QUEUE_SECONDS
    quiet = 0
    while quiet < 2 and time.monotonic() < until:  # twice, for those who were about to be connected
        time.sleep(_LOOK_SECONDS)
        waiting, _, _ = select.select(listeners, [], [], 0)
        quiet = 0 if waiting else quiet + 1


def _sentence(options: Options, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {options.port} is in use by another program. Stop that one, or choose a port with --port."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{options.host} is no address of this machine. Give one with --host, such as 127.0.0.1."
    return (
        f"Port {options.port} of {options.host} cannot be listened on ({reason(error)}). "
        "Choose another with --port."
    )


def is_ready(options: Options) -> bool:
    """Whether the server says that it can serve."""
    connection = http.client.HTTPConnection(options.reachable_host, options.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
