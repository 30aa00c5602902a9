"""Runs an ASGI application on a free port with the product's HTTP protocol, in a thread of the test process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from serving_ui.server.protocol import Protocol
from tests.support.waiting import DEADLINE


@dataclass
class RunningServer:
    """The running application. `run` runs a coroutine in its event loop."""

    url: str
    port: int
    server: uvicorn.Server = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE)


@contextmanager
def serve(app: Callable[..., Awaitable[None]], **settings: Any) -> Iterator[RunningServer]:
    """Runs `app` until the block ends. It is listening when the block begins. `settings` are uvicorn's."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    usual = {"log_level": "critical", "access_log": False, "loop": "uvloop", "http": Protocol, "lifespan": "on",
             "timeout_graceful_shutdown": 1, "interface": "asgi3", "ws": "none"}  # fmt: skip
    config = uvicorn.Config(app, **{**usual, **settings})
    server = uvicorn.Server(config)
    started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.002)
        started.set()
        await serving

    def run() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name=f"server-{port}", daemon=True)
    thread.start()
    if not started.wait(DEADLINE) or not server.started:
        raise RuntimeError("The test server did not start.")
    try:
        scheme = "https" if "ssl_certfile" in settings else "http"
        yield RunningServer(f"{scheme}://127.0.0.1:{port}", port, server, loops[0])
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()
