"""`manage.py up`, `create_token` and `sign_in_link` with the whole product: real processes, ports and signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.sources import ROOT
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, free_port, is_alive, wait_until

pytestmark = pytest.mark.slow

READY = "Serving page ready at http://127.0.0.1:"
LINK = "Nobody has signed in yet. Open this link once and press Sign in: "


class Product:
    """The product on a free port and its own data folder."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
        self.env = {**clean, "SERVING_UI_DATA": str(self.data)}

    def up(self) -> contextlib.AbstractContextManager[Program]:
        command = [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(self.port)]
        return running_program(command, cwd=self.data.parent, env=self.env)

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def request_status(self, path: str, *, token: str = "", body: Any = None) -> int:
        """The status of one request; 0 without a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(tmp_path)


@pytest.fixture
def started(product: Product) -> Iterator[Program]:
    with product.up() as program:
        program.wait_for_line(READY)
        yield program


def process_of(program: Program, part: str) -> int:
    """The id of the process whose command line contains `part`."""
    (found,) = [child for child in program.descendants() if part in command_line(child)]
    return found


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip("\n")


def test_up_prints_the_ready_line_and_then_a_sign_in_link(product):
    with product.up() as program:
        line = program.wait_for_line(READY)
        assert program.out[0] == line == f"{READY}{product.port}/"
        link = program.wait_for_line(LINK).removeprefix(LINK)
        assert re.fullmatch(rf"http://127\.0\.0\.1:{product.port}/welcome/[\w-]{{40,}}", link)
        assert product.request_status("/healthz") == product.request_status("/readyz") == 200
        assert product.request_status(link.partition(str(product.port))[2]) == 200


def test_a_second_start_does_not_prepare_again(product, started):
    """How long it takes is measured by tests/bench/start.py, on a machine that does nothing else."""
    started.signal(signal.SIGTERM)
    assert started.wait_for_exit() == 0
    with product.up() as program:
        program.wait_for_line(READY)
        assert "Preparing" not in program.text
        assert "Installing" not in program.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_processes(product, started, number):
    left = started.descendants()
    assert len(left) >= 5
    started.signal_group(number)  # as a terminal does, to the whole process group
    assert started.wait_for_exit() == 0
    assert "Traceback" not in started.text
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")
    assert product.request_status("/healthz") == 0


@pytest.mark.parametrize("part", ["serving_ui.server", "--quiet worker", "--quiet beat"])
def test_a_killed_child_is_restarted(product, started, part):
    first = process_of(started, part)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_alive(first) and len(started.descendants()) >= 5, what="the child to be back")
    wait_until(lambda: product.request_status("/readyz") == 200, what="the server to be ready again")
    assert process_of(started, part) != first
    assert started.process.poll() is None


def test_a_killed_supervisor_leaves_no_orphan_and_the_next_start_works(product, started):
    left = started.descendants()
    started.signal(signal.SIGKILL)
    started.wait_for_exit()
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")
    with product.up() as program:
        program.wait_for_line(READY)


def test_a_port_in_use_is_reported_before_anything_starts(product):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", product.port))
        taken.listen()
        printed = refusal(product.command("up", "--port", str(product.port)))
    assert printed == (
        f"Port {product.port} is in use by another program. Stop that one, or choose a port with --port."
    )
    assert not (product.data / "serving_ui.sqlite3").exists()


@pytest.mark.usefixtures("started")
def test_a_second_up_on_the_same_data_folder_is_refused(product):
    printed = refusal(product.command("up", "--port", str(free_port())))
    assert printed == (
        f"Another `manage.py up` already uses the data folder {product.data}. "
        "Stop that one, or name another folder in SERVING_UI_DATA."
    )


def test_a_data_folder_that_cannot_be_written_is_named(product, tmp_path):
    (tmp_path / "file").touch()
    printed = refusal(product.command("up", SERVING_UI_DATA=str(tmp_path / "file" / "data")))
    assert printed.startswith(
        f"The data folder {tmp_path / 'file' / 'data'} cannot be written (not a directory)."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVING_UI_DEBUG", "maybe"),
        ("SERVING_UI_BASE_URL_OPENAI", "nowhere"),
        ("SERVING_UI_SECRET_KEY_FILE", "/gone"),
        ("SERVING_UI_USAGE_ROW_DAYS", "0"),
        ("SERVING_UI_USAGE_MINUTE_DAYS", "13"),
    ],
)
def test_an_invalid_setting_is_named(product, name, value):
    assert name.removesuffix("_OPENAI") in refusal(product.command("up", **{name: value}))


def test_a_token_created_before_the_first_start_can_query_the_sandbox(product):
    made = product.command("create_token", "ada@example.com", "--admin")
    assert made.returncode == 0
    token = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"\S{20,}", token)
    chat_request = {"messages": [{"role": "user", "content": "Hello"}]}
    with product.up() as program:
        program.wait_for_line(READY)
        path = "/serving-endpoints/sandbox-chat/invocations"
        wait_until(
            lambda: product.request_status(path, token=token, body=chat_request) == 200,
            what="an answer of the sandbox",
        )
        assert product.request_status(path, body=chat_request) == 401


def test_sign_in_link_prints_only_a_path(product):
    made = product.command("sign_in_link", "ada@example.com")
    assert made.returncode == 0
    assert re.fullmatch(r"/welcome/\S+\n", made.stdout)


@pytest.mark.usefixtures("started")
def test_all_files_are_readable_by_their_owner_only(product):
    written = [
        path for path in product.data.rglob("*") if "static" not in path.relative_to(product.data).parts
    ]
    assert product.data / "vault.key" in written
    assert not [path for path in written if path.stat().st_mode & 0o077]
