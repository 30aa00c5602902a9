"""Starts server, worker and beat separately, as on several machines. `up` has a supervisor, which would restart them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.architecture.sources import ROOT
from tests.support.product import Product
from tests.support.program import Program, running_program
from tests.support.waiting import wait_until

WORKER = ("celery", "--app", "serving_ui", "worker", "--pool", "threads", "--concurrency", "4")
BEAT = ("celery", "--app", "serving_ui", "beat")


def server_command(product: Product) -> tuple[str, ...]:
    return ("serving_ui.server", "--port", str(product.port))


@contextmanager
def run_process(
    product: Product, command: tuple[str, ...], *, env: Mapping[str, str] | None = None, root: str = str(ROOT)
) -> Iterator[Program]:
    """Run `python -m <command>` with the code in `root` until the block ends."""
    more = env or {}
    path = os.pathsep.join(filter(None, (root, more.get("PYTHONPATH"))))
    both = {**product.env, "SERVING_UI_PORT": str(product.port), **more, "PYTHONPATH": path}
    with running_program(
        [sys.executable, "-P", "-m", *command], cwd=product.data.parent, env=both
    ) as program:
        yield program


def prepare(product: Product) -> None:
    """Create the tables and collect the static files."""
    product.data.mkdir(parents=True, exist_ok=True)
    product.command("migrate", "--verbosity", "0")
    product.command("collectstatic", "--noinput", "--verbosity", "0")


@contextmanager
def running_server(
    product: Product, *, env: Mapping[str, str] | None = None, root: str = str(ROOT)
) -> Iterator[Program]:
    """Run the server until the block ends; it is ready when the block begins."""
    with run_process(product, server_command(product), env=env, root=root) as product.program:
        wait_until(product.is_ready, what="the server to be ready", seconds=60)
        yield product.program
