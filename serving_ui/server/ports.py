"""Opens the listening sockets, and asks a server whether it is ready."""

from __future__ import annotations

import errno
import http.client
import socket
from typing import Any

from serving_ui.bootstrap.errors import StartError, reason
from serving_ui.server.address import ListenAddress

BACKLOG = 2048
READY_TIMEOUT = 0.5  # seconds; the port is open before the server accepts


def check_free(address: ListenAddress) -> None:
    """Raise StartError if the server could not listen."""
    for family, kind, protocol, _, resolved in _resolve(address):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(resolved)
                probe.listen(1)  # with SO_REUSEADDR two sockets may bind, but only one may listen
            except OSError as error:
                raise StartError(_message(address, error)) from None


def _resolve(address: ListenAddress) -> list[tuple[Any, ...]]:
    """What socket.getaddrinfo returns for the host, without duplicates."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        raise StartError(
            f"{address.host} is not an address of this machine. Give one with --host, such as 127.0.0.1."
        ) from None
    return list(dict.fromkeys(found))


def open_shared(address: ListenAddress) -> socket.socket:
    """A listening socket with SO_REUSEPORT: call it once for each worker."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, reuse_port=True
        )
    except OSError as error:
        raise StartError(_message(address, error)) from None


def open_all(address: ListenAddress) -> list[socket.socket]:
    """A listening socket for each address that the host resolves to, such as 127.0.0.1 and ::1 for localhost."""
    opened: list[socket.socket] = []
    try:
        for family, _kind, _protocol, _name, resolved in _resolve(address):
            opened.append(socket.create_server(resolved, family=family, backlog=BACKLOG))
    except OSError as error:
        for each in opened:
            each.close()
        raise StartError(_message(address, error)) from None
    return opened


def _message(address: ListenAddress, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {address.port} is in use by another program. Stop that one, or choose a port with --port."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is not an address of this machine. Give one with --host, such as 127.0.0.1."
    return (
        f"The server cannot listen on port {address.port} of {address.host} ({reason(error)}). "
        "Choose another port with --port."
    )


def is_ready(address: ListenAddress) -> bool:
    """Whether /readyz answers 200."""
    connection = http.client.HTTPConnection(address.reachable_host, address.port, timeout=READY_TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
