"""`manage.py gateway` beside the product, with a connection to each of its processes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.architecture.sources import ROOT
from tests.support.product import CHAT_REQUEST
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, free_port, wait_until

WORKER = "gateway_worker"


@dataclass
class Gateways:
    """The running `manage.py gateway` with `size` processes."""

    program: Program = field(repr=False)
    url: str
    size: int

    def workers(self) -> set[int]:
        return {each for each in self.program.descendants() if WORKER in command_line(each)}

    def readiness(self) -> requests.Response:
        return requests.get(f"{self.url}/readyz", timeout=60)

    def query(
        self, name: str, token: str, *, session: requests.Session | None = None, **more: Any
    ) -> requests.Response:
        """Send one query; without `session` on a new connection."""
        url = f"{self.url}/serving-endpoints/{name}/invocations"
        headers = {"Authorization": f"Bearer {token}"}
        return (session or requests).post(url, json={**CHAT_REQUEST, **more}, headers=headers, timeout=60)

    @contextlib.contextmanager
    def sessions(self) -> Iterator[dict[str, requests.Session]]:
        """One keep-alive connection to every process, by the name of the process."""
        found: dict[str, requests.Session] = {}
        with contextlib.ExitStack() as opened:

            def all_are_found() -> bool:
                session = opened.enter_context(requests.Session())
                answer = session.get(f"{self.url}/readyz", timeout=60)
                found.setdefault(answer.json()["process"], session)
                return len(found) == self.size

            wait_until(all_are_found, what=f"a connection to each of {self.size} processes")
            yield found


@contextlib.contextmanager
def running_gateways(*, env: Mapping[str, str], size: int = 2, ready: bool = True) -> Iterator[Gateways]:
    """Run `manage.py gateway` until the block ends. With `ready`, wait first until every process is ready."""
    port = free_port()
    command = [sys.executable, str(ROOT / "manage.py"), "gateway", "--port", str(port)]
    with running_program([*command, "--workers", str(size)], cwd=ROOT, env=env) as program:
        if ready:
            program.wait_for_line("Gateway ready at", seconds=60)
        yield Gateways(program, f"http://127.0.0.1:{port}", size)
