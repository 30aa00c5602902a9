"""A model registry that answers as MLflow's REST API documents, and misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Registry:
    """`versions` by name of the model. `answer`, if set, is sent in place of every answer: a status and a body."""

    url: str = ""
    versions: dict[str, list[str]] = field(default_factory=dict)
    answer: tuple[int, bytes] | None = None
    mlmodel: bytes | None = None
    """The file MLmodel of every version, which other answers do not replace."""
    authorization: str = ""
    """The header that every request must have, if it is set."""
    paths: list[str] = field(default_factory=list)
    """Of all requests."""

    def respond(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path.endswith("/model-versions/get"):
            name, version = query["name"][0], query["version"][0]
            if version not in self.versions.get(name, []):
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version not found"}
            return 200, {"model_version": _version(name, version)}
        if path.endswith("/registered-models/search"):
            names = sorted(self.versions)[: int(query["max_results"][0])]
            return 200, {"registered_models": [{"name": name} for name in names]}
        if path.endswith("/model-versions/search"):
            name = query["filter"][0].removeprefix("name='").removesuffix("'")
            newest = sorted(self.versions.get(name, []), key=int, reverse=True)
            return 200, {"model_versions": [_version(name, version) for version in newest]}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": "No such path"}


def _version(name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "status": "READY",
        "source": f"mlflow-artifacts:/{name}",
        "creation_timestamp": 1_700_000_000_000,
    }


@contextmanager
def running_registry() -> Iterator[Registry]:
    """A registry on a free port of this machine."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            registry.paths.append(parts.path)
            if registry.authorization not in ("", self.headers.get("authorization", "")):
                status, content = 401, b"You are not authenticated."
            elif registry.mlmodel is not None and parts.path == "/model-versions/get-artifact":
                status, content = 200, registry.mlmodel
            elif registry.answer:
                status, content = registry.answer
            else:
                status, body = registry.respond(parts.path, parse_qs(parts.query))
                content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
