"""The programs that the page shows do what they say: each is run, and what arrives is the call that the page describes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

from serving_ui.api.operation import Operation
from serving_ui.api.reference.programs import EXAMPLE, address, example_body, programs
from serving_ui.api.urls import OPERATIONS

ANSWER = {
    "name": "my-chat",
    "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
    "endpoints": [],
    "tags": [],
    "rate_limits": [],
    "totalResults": 0,
    "choices": [],
}


@dataclass
class Recorder:
    """A server that says yes to everything and remembers what it was asked."""

    url: str
    requests: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def listening() -> Iterator[Recorder]:
    recorder = Recorder("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            recorder.requests.append((self.command, self.path, json.loads(sent) if sent else None))
            person: dict[str, Any] = {"name": {}} if "/scim/" in self.path else {}
            content = json.dumps({**ANSWER, **person}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_arguments: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield recorder
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def recorder(listening: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    listening.requests.clear()
    monkeypatch.setenv("DATABRICKS_HOST", listening.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "a-token")
    return listening


IN_PYTHON = [
    (each, key)
    for each in OPERATIONS
    for key in ("sdk", "mlflow")
    if any(p.key == key for p in programs(each))
]


@pytest.mark.parametrize(("operation", "key"), IN_PYTHON, ids=lambda part: getattr(part, "name", part))
@pytest.mark.filterwarnings("ignore")  # of the clients' own
def test_a_python_program_makes_the_call(operation: Operation, key: str, recorder: Recorder):
    code = next(program.code for program in programs(operation) if program.key == key)
    exec(compile(code, operation.name, "exec"), {})
    calls = [each for each in recorder.requests if not each[1].startswith("/.well-known/")]
    method, path, body = calls[0]
    assert method == operation.method
    assert parted(path) == parted(address(operation, EXAMPLE))
    assert (body or None) == (example_body(operation, EXAMPLE) or None)


def parted(address: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query. MLflow asks for the list with a slash; the SDK adds a page to lists of people."""
    path, _mark, query = address.partition("?")
    parameters = parse_qs(query)
    return path.rstrip("/"), {
        name: parameters[name] for name in parameters if name not in ("startIndex", "count")
    }


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_a_curl_line_is_the_call(operation: Operation):
    words = shlex.split(programs(operation)[0].code.replace("\\\n", " "))
    assert words[0] == "curl"
    assert f"$DATABRICKS_HOST{address(operation, EXAMPLE)}" in words
    assert ("-X" in words) == (operation.method != "GET")
    body = example_body(operation, EXAMPLE)
    assert ("-d" in words) == (body is not None)
    if body is not None:
        assert json.loads(words[words.index("-d") + 1]) == body


def test_a_single_quote_does_not_end_the_shells_string():
    from dataclasses import replace

    subject = replace(EXAMPLE, tags=[{"key": "owner", "value": "Ann's 'team'"}])
    created = next(each for each in OPERATIONS if each.name == "create_endpoint")
    words = shlex.split(programs(created, subject)[0].code.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1])["tags"] == subject.tags
