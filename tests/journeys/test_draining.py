"""Stopping `up` or its server: running requests are finished within a limit; a second signal ends them at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
import requests

from tests.architecture.sources import ROOT
from tests.journeys.conftest import Deploy
from tests.support.gateways import running_gateways
from tests.support.product import CHAT_REQUEST, SERVER, Person, Product
from tests.support.program import Program, running_program
from tests.support.sandbox import SandboxServer
from tests.support.waiting import free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PAUSE = 0.7  # seconds between two events of a stream


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A product of the test's own, because the test stops it."""
    with Product(tmp_path).up() as started:
        yield started


@pytest.fixture
def owner(product: Product) -> Iterator[Person]:
    with product.person("owner@example.com") as person:
        yield person


@contextmanager
def stream(port: int, name: str, token: str) -> Iterator[HTTPResponse]:
    """A streamed answer, of which the first event has been read."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({**CHAT_REQUEST, "stream": True})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/serving-endpoints/{name}/invocations", body, headers)
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data: ")
        yield answer
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_finishes_a_running_stream(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy, number: int
):
    name = deploy()
    provider.set_faults(on="chat/completions", pause=PAUSE)
    with stream(product.port, name, owner.token) as answer:
        product.program.signal(number)
        wait_until(lambda: is_refused(product.port), what="the port to be closed")
        rest = answer.read()
    assert rest.rstrip().endswith(b"data: [DONE]")
    assert product.program.wait_for_exit(seconds=120) == 0
    assert "Traceback" not in product.program.text
    sentence = "Waiting up to 315 s for running work to finish (server). A second Ctrl-C ends it at once."
    assert sentence in product.program.err


def test_a_second_signal_ends_all_processes_at_once(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.set_faults(on="chat/completions", pause=600.0)
    with stream_without_event(product.port, name, owner.token, provider):
        product.program.signal(signal.SIGTERM)
        wait_until(
            lambda: "Waiting up to" in product.program.text,
            what="the notice of running requests",
        )
        product.program.signal(signal.SIGTERM)
        assert product.program.wait_for_exit(seconds=120) == 0  # the stream would take longer
    assert "Traceback" not in product.program.text


@contextmanager
def stream_without_event(port: int, name: str, token: str, provider: SandboxServer) -> Iterator[None]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({**CHAT_REQUEST, "stream": True})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/serving-endpoints/{name}/invocations", body, headers)
        provider.wait_for("chat/completions")
        yield
    finally:
        connection.close()


def test_without_running_requests_up_ends_at_once_and_prints_nothing(product: Product, owner: Person):
    owner.get("/settings")  # leaves an idle keep-alive connection
    product.program.signal(signal.SIGTERM)
    assert product.program.wait_for_exit() == 0
    assert "Waiting" not in product.program.text
    assert "Traceback" not in product.program.text


@contextmanager
def server_alone(product: Product, *options: str) -> Iterator[tuple[Program, int]]:
    port = free_port()
    command = [sys.executable, "-m", SERVER, "--port", str(port), *options]
    env = {**product.env, "SERVING_UI_PORT": str(port)}
    with running_program(command, cwd=ROOT, env=env) as server:
        wait_until(lambda: status(port, "/readyz") == 200, what="the server", seconds=120)
        yield server, port


def test_answers_that_take_longer_than_the_drain_limit_are_cut_off_and_logged(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.set_faults(on="chat/completions", pause=600.0)
    with server_alone(product, "--drain-seconds", "1") as (server, port):
        wait_until(lambda: status(port, f"/serving-endpoints/{name}/invocations") == 401, what="its snapshot")
        with stream_without_event(port, name, owner.token, provider):
            server.signal(signal.SIGTERM)
            server.wait_for_exit()
    assert "Requests that were still running after 1 s and were aborted: 1." in server.err
    assert "Traceback" not in server.text


@pytest.mark.smoke
def test_a_server_alone_finishes_a_running_stream(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.set_faults(on="chat/completions", pause=PAUSE)
    with server_alone(product) as (server, port):
        wait_until(lambda: status(port, f"/serving-endpoints/{name}/invocations") == 401, what="its snapshot")
        with stream(port, name, owner.token) as answer:
            server.signal(signal.SIGTERM)
            assert answer.read().rstrip().endswith(b"data: [DONE]")
        server.wait_for_exit()
    assert "Traceback" not in server.text


def test_connections_of_a_hung_gateway_process_are_answered_by_its_successor(product: Product):
    """Each of three processes gets a third of all new connections, so also some of these health checks."""
    with running_gateways(env={**product.env, "SERVING_UI_PORT": str(product.port)}, size=3) as gateways:
        before = gateways.workers()
        with gateways.sessions():
            pass
        hung = min(before)
        os.kill(hung, signal.SIGSTOP)
        statuses = [requests.get(f"{gateways.url}/readyz", timeout=60).status_code for _each in range(60)]
        wait_until(lambda: len(now := gateways.workers()) == 3 and hung not in now, what="the successor")
        with gateways.sessions():
            pass
        assert len(gateways.workers() & before) == 2
    assert statuses == [200] * 60
    assert any(f"(process {hung}) has sent no heartbeat" in line for line in gateways.program.err)


def status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET" if path == "/readyz" else "POST", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def is_refused(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    finally:
        connection.close()
    return False
