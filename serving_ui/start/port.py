"""The port: known to be free before anything starts, and asked for readiness afterwards."""

from __future__ import annotations

import errno
import http.client
import socket

from serving_ui.start.options import Options
from serving_ui.start.problem import StartProblem, reason


def check_free(options: Options) -> None:
    """Bind the address once, as the server will, and let it go."""
    try:
        addresses = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror:
        raise StartProblem(
            f"{options.host} is no address of this machine. Give one with --host, such as 127.0.0.1."
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)  # two may bind, when both allow it; only one may listen
            except OSError as error:
                raise StartProblem(_sentence(options, error)) from None


def opened(options: Options, *, backlog: int) -> socket.socket:
    """The port, listening; it can be opened several times, and callers come to one or another."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server(
            (options.host, options.port), family=family, backlog=backlog, reuse_port=True
        )
    except OSError as error:
        raise StartProblem(_sentence(options, error)) from None


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
    connection = http.client.HTTPConnection(options.reachable_host, options.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
