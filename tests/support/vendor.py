"""An HTTP server in the place of a vendor: it sends the answers that a test sets and records the requests.

Requests that the real vendor would reject get 400, whatever answer is set: see tests/support/vendor_rules.

`vendor.set_answers(Answer.json({...}))` sets the answer to every request. With several answers each is used once, and the last one for all
further requests. `vendor.set_answers(..., at="/token")` sets the answer for paths that contain `/token`. `vendor.requests` are the requests
received, in order.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import vendor_rules
from tests.support.waiting import DEADLINE, wait_until

EVENT_STREAM = "text/event-stream"
Portion = bytes | threading.Event
"""Bytes to send, or an event to wait for before what follows."""


@dataclass(frozen=True)
class Answer:
    """`portions` are sent one by one, chunked if `streamed`. `cut` closes the connection before the message is complete.

    Nothing is sent before `gate` is set.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    portions: tuple[Portion, ...] = ()
    streamed: bool = False
    cut: bool = False
    gate: threading.Event | None = None

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        head = {"Content-Type": "application/json", **(headers or {})}
        return cls(status, head, (json.dumps(value).encode(),))

    @classmethod
    def stream(
        cls,
        *portions: Portion,
        kind: str = EVENT_STREAM,
        cut: bool = False,
        gate: threading.Event | None = None,
    ) -> Answer:
        return cls(200, {"Content-Type": kind}, portions, streamed=True, cut=cut, gate=gate)


@dataclass
class Received:
    """One request. `headers` have lower-case names; `path` has the query. `gone` is set when the client disconnects before the end of the answer."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    gone: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Vendor:
    """Controls the server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[Received] = []
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()

    def set_answers(self, *answers: Answer, at: str = "") -> None:
        with self._lock:
            self._answers[at] = list(answers)

    def wait_for(self, count: int) -> list[Received]:
        """Wait until `count` requests have been received."""
        wait_until(lambda: len(self.requests) >= count)
        return self.requests

    def record(self, request: Received) -> Answer:
        """Record the request and return its answer: that of the longest matching `at`."""
        refused = vendor_rules.rejection(request.path.partition("?")[0], request.body)
        with self._lock:
            self.requests.append(request)
            if refused is not None:
                return Answer.json({"error": {"message": refused}}, status=400)
            fitting = [at for at in self._answers if at in request.path]
            if not fitting:
                return Answer.json({"error": {"message": f"no answer is set for {request.path}"}}, status=404)
            answers = self._answers[max(fitting, key=len)]
            return answers.pop(0) if len(answers) > 1 else answers[0]


class _Gone(Exception):
    """The client closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client closed the connection
            self.close_connection = True

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.command, self.path, headers, self._body(headers))
        answer = self.vendor.record(request)
        try:
            self._send(answer)
        except (_Gone, OSError):
            request.gone.set()
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _respond

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, answer: Answer) -> None:
        if answer.gate is not None:
            self._wait(answer.gate)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.streamed:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = sum(len(each) for each in answer.portions if isinstance(each, bytes))
            self.send_header("Content-Length", str(length + 64 if answer.cut else length))
        self.end_headers()
        for portion in answer.portions:
            if isinstance(portion, threading.Event):
                self._wait(portion)
            elif portion:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(portion), portion) if answer.streamed else portion)
        if answer.cut:
            self.close_connection = True
        elif answer.streamed:
            self.wfile.write(b"0\r\n\r\n")

    def _wait(self, event: threading.Event) -> None:
        """Wait for the event. Raises _Gone if the client disconnects meanwhile."""
        for _ in range(int(DEADLINE / 0.02)):
            if event.wait(0.02):
                return
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise _Gone
        raise _Gone

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    handler.vendor = Vendor(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield handler.vendor  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE)
