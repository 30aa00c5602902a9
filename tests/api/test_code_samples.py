"""Runs the code samples of the reference page and checks that they send the described request."""

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
from serving_ui.api.reference.code_samples import EXAMPLE, address, code_samples_for, example_body
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
    """A server that answers every request with 200 and records it."""

    url: str
    requests: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def running_recorder() -> Iterator[Recorder]:
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
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield recorder
    server.shutdown()
    server.server_close()
    thread.join(60)


@pytest.fixture
def recorder(running_recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    running_recorder.requests.clear()
    monkeypatch.setenv("DATABRICKS_HOST", running_recorder.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "a-token")
    return running_recorder


IN_PYTHON = [
    (each, key)
    for each in OPERATIONS
    for key in ("sdk", "mlflow")
    if any(sample.key == key for sample in code_samples_for(each))
]


@pytest.mark.parametrize(("operation", "key"), IN_PYTHON, ids=lambda part: getattr(part, "name", part))
@pytest.mark.filterwarnings("ignore")  # of the clients
def test_a_python_sample_sends_the_described_request(operation: Operation, key: str, recorder: Recorder):
    code = next(sample.code for sample in code_samples_for(operation) if sample.key == key)
    exec(compile(code, operation.name, "exec"), {})
    calls = [each for each in recorder.requests if not each[1].startswith("/.well-known/")]
    method, path, body = calls[0]
    assert method == operation.method
    assert split_url(path) == split_url(address(operation, EXAMPLE))
    assert (body or None) == (example_body(operation, EXAMPLE) or None)


def split_url(address: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query. MLflow requests the list with a trailing slash; the SDK adds paging parameters to lists of users."""
    path, _mark, query = address.partition("?")
    parameters = parse_qs(query)
    return path.rstrip("/"), {
        name: parameters[name] for name in parameters if name not in ("startIndex", "count")
    }


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_a_curl_sample_sends_the_described_request(operation: Operation):
    words = shlex.split(code_samples_for(operation)[0].code.replace("\\\n", " "))
    assert words[0] == "curl"
    assert f"$DATABRICKS_HOST{address(operation, EXAMPLE)}" in words
    assert ("-X" in words) == (operation.method != "GET")
    body = example_body(operation, EXAMPLE)
    assert ("-d" in words) == (body is not None)
    if body is not None:
        assert json.loads(words[words.index("-d") + 1]) == body


def test_a_single_quote_is_escaped_for_the_shell():
    from dataclasses import replace

    subject = replace(EXAMPLE, tags=[{"key": "owner", "value": "Ann's 'team'"}])
    created = next(each for each in OPERATIONS if each.name == "create_endpoint")
    words = shlex.split(code_samples_for(created, subject)[0].code.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1])["tags"] == subject.tags
