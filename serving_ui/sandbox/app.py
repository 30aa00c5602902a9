"""The sandbox as an ASGI application: OpenAI's API at /sandbox/v1 (chat/completions, completions, embeddings, models).

Responses are canned and say so. Any API key or none is accepted, except `sandbox-invalid`, which answers 401.
`make_sandbox(control=...)` adds the fault injection of control.py. `manage.py sandbox --port N` runs the sandbox alone, where it also
serves /v1, so that `SERVING_UI_BASE_URL_OPENAI=http://127.0.0.1:N` sends OpenAI's requests to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from serving_ui.lib import json_text
from serving_ui.lib.request import QUERY_BODY, BodyLimit, ClientDisconnected, RequestRefused, read_body
from serving_ui.sandbox import responses
from serving_ui.sandbox.control import Control, Faults, ReceivedRequest
from serving_ui.sandbox.responses import InvalidRequest

ROOT = "/sandbox/v1/"
OPENAI_ROOT = "/v1/"
CONTROL = "/sandbox/control"
INVALID_KEY = "sandbox-invalid"

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RequestJson = dict[str, Any]

_RESPONSES: dict[str, Callable[[RequestJson], dict[str, Any]]] = {
    "chat/completions": responses.chat_completion,
    "completions": responses.text_completion,
    "embeddings": responses.embeddings,
}
_STREAMS: dict[str, Callable[[RequestJson], Iterator[dict[str, Any]]]] = {
    "chat/completions": responses.chat_chunks,
    "completions": responses.completion_chunks,
}


class ErrorResponse(Exception):
    """An error response in OpenAI's format."""

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": None}}


class Sandbox:
    """The ASGI application. Without a control it injects no faults and records no requests."""

    def __init__(self, control: Control | None = None, body: BodyLimit = QUERY_BODY) -> None:
        self._control = control
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _handle_lifespan(receive, send)
            return
        try:
            content = await read_body(
                scope=scope, headers=dict(scope["headers"]), receive=receive, limit=self._body
            )
        except ClientDisconnected:
            return
        except RequestRefused as refusal:
            await _send_json(send, 400, ErrorResponse(400, str(refusal)).body)
            return
        if self._control is not None and scope["path"] == CONTROL:
            await _answer_control(self._control, scope["method"], content, send)
        else:
            await self._answer(scope, content, receive, send)

    async def _answer(self, scope: Scope, content: bytes, receive: Receive, send: Send) -> None:
        root = next((each for each in (ROOT, OPENAI_ROOT) if scope["path"].startswith(each)), None)
        operation = "" if root is None else scope["path"].removeprefix(root)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        responder = _Responder(operation, scope["method"], headers, content, send)
        if self._control is None:
            await responder.answer(Faults())
            return
        received = ReceivedRequest(operation, responder.key, _parse_body(content), headers)
        self._control.record(received)
        response = asyncio.ensure_future(self._controlled(self._control, operation, responder))
        disconnect = asyncio.ensure_future(_disconnected(receive))
        await asyncio.wait({response, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        received.gone = not response.done()
        received.answered = response.done()
        response.cancel()
        disconnect.cancel()
        await asyncio.wait({response, disconnect})
        if not response.cancelled():
            response.result()

    async def _controlled(self, control: Control, operation: str, responder: _Responder) -> None:
        await asyncio.sleep(control.faults(operation).latency)
        await control.wait_until_released(operation)
        await responder.answer(control.faults(operation))


class _Responder:
    """One request and its response."""

    def __init__(
        self, operation: str, method: str, headers: dict[str, str], content: bytes, send: Send
    ) -> None:
        self.operation = operation
        self.key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        self._method = method
        self._content = content
        self._send = send

    async def answer(self, faults: Faults) -> None:
        try:
            self._check(faults)
            if faults.html:
                await _send_response(
                    self._send, 200, "text/html", b"<!doctype html><title>Not an API</title>"
                )
                return
            if self.operation == "models":
                await _send_json(self._send, 200, responses.models())
                return
            body = self._read()
            if body.get("stream") is True and self.operation in _STREAMS:
                await self._stream(_STREAMS[self.operation](body), faults)
            else:
                await _send_json(
                    self._send, 200, _RESPONSES[self.operation](body), cut=faults.cut_after is not None
                )
        except InvalidRequest as problem:
            await _send_json(self._send, 400, ErrorResponse(400, str(problem)).body)
        except ErrorResponse as refusal:
            extra = {"retry-after": faults.retry_after, "location": faults.location}
            await _send_json(self._send, refusal.status, refusal.body, extra=extra)

    def _check(self, faults: Faults) -> None:
        if self.operation != "models" and self.operation not in _RESPONSES:
            raise ErrorResponse(404, "The sandbox has no such path.")
        if self._method != ("GET" if self.operation == "models" else "POST"):
            raise ErrorResponse(405, "Use GET for models and POST for everything else.")
        if self.key == INVALID_KEY or (faults.keys is not None and self.key not in faults.keys):
            raise ErrorResponse(401, "Incorrect API key provided.", "authentication_error")
        if faults.status:
            raise ErrorResponse(faults.status, faults.message, "sandbox_error")

    def _read(self) -> RequestJson:
        try:
            body = json_text.read(self._content, json_text.REQUEST_BOUNDS)
        except json_text.JsonInvalid as problem:
            raise ErrorResponse(400, f"The body cannot be read. {problem}") from None
        if not isinstance(body, dict):
            raise ErrorResponse(400, "The body must be a JSON object.")
        return body

    async def _stream(self, events: Iterator[dict[str, Any]], faults: Faults) -> None:
        first = next(events)  # raises InvalidRequest before the stream begins
        await _send_headers(self._send, 200, {"content-type": "text/event-stream"})
        await _send_chunk(
            self._send, b""
        )  # some servers send the headers only with the first bytes of the body
        for number, event in enumerate([first, *events]):
            await asyncio.sleep(faults.pause)
            if number == faults.cut_after:
                return  # the server closes the connection of an unfinished response
            if number == faults.malformed_after:
                await _send_chunk(self._send, b'data: {"choices": [\n\n')
            if number == faults.failed_after:
                await _send_chunk(
                    self._send, b"data: " + json_text.write(ErrorResponse(500, faults.message).body) + b"\n\n"
                )
            await _send_chunk(self._send, b"data: " + json_text.write(event) + b"\n\n")
        if not faults.no_done:
            await _send_chunk(self._send, b"data: [DONE]\n\n")
        await self._send({"type": "http.response.body", "body": b""})


def _parse_body(content: bytes) -> Any:
    """The parsed body; None if it is no valid JSON."""
    try:
        return json_text.read(content, json_text.REQUEST_BOUNDS)
    except json_text.JsonInvalid:
        return None


async def _answer_control(control: Control, method: str, content: bytes, send: Send) -> None:
    try:
        if method == "POST":
            control.set_faults(json_text.read(content, json_text.REQUEST_BOUNDS))
        elif method == "DELETE":
            control.reset()
    except (ValueError, TypeError, AttributeError) as problem:
        await _send_json(send, 400, ErrorResponse(400, str(problem)).body)
        return
    await _send_json(send, 200, control.report())


async def _handle_lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(
    send: Send, status: int, body: dict[str, Any], *, extra: dict[str, str] | None = None, cut: bool = False
) -> None:
    await _send_response(send, status, "application/json", json_text.write(body), extra=extra, cut=cut)


async def _send_response(
    send: Send,
    status: int,
    kind: str,
    content: bytes,
    *,
    extra: dict[str, str] | None = None,
    cut: bool = False,
) -> None:
    headers = {"content-type": kind, "content-length": str(len(content)), **(extra or {})}
    await _send_headers(send, status, {name: value for name, value in headers.items() if value})
    if cut:
        await _send_chunk(send, content[: len(content) // 2])
        return  # the server closes the connection of an unfinished response
    await send({"type": "http.response.body", "body": content})


async def _send_headers(send: Send, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _send_chunk(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


def make_sandbox(*, control: Control | None = None, body: BodyLimit = QUERY_BODY) -> Sandbox:
    """A new sandbox; with a control it injects faults."""
    return Sandbox(control, body)
