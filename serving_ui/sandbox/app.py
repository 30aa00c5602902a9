"""The sandbox as an ASGI application: OpenAI's API at /sandbox/v1 (chat/completions, completions, embeddings, models).

Replies are canned and say so. Every API key is accepted, and requests without one; only the key `sandbox-invalid` answers 401, to
demonstrate a refused key. `make_sandbox(control=...)` adds the fault injection of control.py. `manage.py sandbox --port N` runs the
sandbox alone, where it also serves /v1, so that `SERVING_UI_BASE_URL_OPENAI=http://127.0.0.1:N` sends OpenAI's requests to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from serving_ui.lib import json_text
from serving_ui.lib.request import QUERY_BODY, BodyLimit, ClientDisconnected, RequestRefused, read_body
from serving_ui.sandbox import replies
from serving_ui.sandbox.control import Control, Faults, ReceivedRequest
from serving_ui.sandbox.replies import InvalidRequest

ROOT = "/sandbox/v1/"
VENDORS_ROOT = "/v1/"
CONTROL = "/sandbox/control"
INVALID_KEY = "sandbox-invalid"

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RequestJson = dict[str, Any]

_RESPONSES: dict[str, Callable[[RequestJson], dict[str, Any]]] = {
    "chat/completions": replies.chat_completion,
    "completions": replies.text_completion,
    "embeddings": replies.embeddings,
}
_STREAMS: dict[str, Callable[[RequestJson], Iterator[dict[str, Any]]]] = {
    "chat/completions": replies.chat_chunks,
    "completions": replies.completion_chunks,
}


class ErrorResponse(Exception):
    """An error answer of the OpenAI wire."""

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": None}}


class Sandbox:
    """The ASGI callable. Without a control it has no knobs and keeps nothing."""

    def __init__(self, control: Control | None = None, body: BodyLimit = QUERY_BODY) -> None:
        self._control = control
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        try:
            content = await read_body(
                scope=scope, headers=dict(scope["headers"]), receive=receive, limit=self._body
            )
        except ClientDisconnected:
            return
        except RequestRefused as refusal:
            await _json(send, 400, ErrorResponse(400, str(refusal)).body)
            return
        if self._control is not None and scope["path"] == CONTROL:
            await _answer_control(self._control, scope["method"], content, send)
        else:
            await self._answer(scope, content, receive, send)

    async def _answer(self, scope: Scope, content: bytes, receive: Receive, send: Send) -> None:
        root = next((each for each in (ROOT, VENDORS_ROOT) if scope["path"].startswith(each)), None)
        call = "" if root is None else scope["path"].removeprefix(root)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answering = _Call(call, scope["method"], headers, content, send)
        if self._control is None:
            await answering.answer(Faults())
            return
        asked = ReceivedRequest(call, answering.key, _body_of(content), headers)
        self._control.note(asked)
        work = asyncio.ensure_future(self._controlled(self._control, call, answering))
        leaving = asyncio.ensure_future(_gone(receive))
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        asked.gone = not work.done()
        asked.answered = work.done()
        work.cancel()
        leaving.cancel()
        await asyncio.wait({work, leaving})
        if not work.cancelled():
            work.result()

    async def _controlled(self, control: Control, call: str, answering: _Call) -> None:
        await asyncio.sleep(control.knobs(call).latency)
        await control.released(call)
        await answering.answer(control.knobs(call))


class _Call:
    """One call and its answer."""

    def __init__(self, call: str, method: str, headers: dict[str, str], content: bytes, send: Send) -> None:
        self.call = call
        self.key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        self._method = method
        self._content = content
        self._send = send

    async def answer(self, knobs: Faults) -> None:
        try:
            self._check(knobs)
            if knobs.html:
                await _whole(self._send, 200, "text/html", b"<!doctype html><title>Not an API</title>")
                return
            if self.call == "models":
                await _json(self._send, 200, replies.models())
                return
            body = self._read()
            if body.get("stream") is True and self.call in _STREAMS:
                await self._stream(_STREAMS[self.call](body), knobs)
            else:
                await _json(self._send, 200, _RESPONSES[self.call](body), cut=knobs.cut_after is not None)
        except InvalidRequest as problem:
            await _json(self._send, 400, ErrorResponse(400, str(problem)).body)
        except ErrorResponse as refusal:
            extra = {"retry-after": knobs.retry_after, "location": knobs.location}
            await _json(self._send, refusal.status, refusal.body, extra=extra)

    def _check(self, knobs: Faults) -> None:
        if self.call != "models" and self.call not in _RESPONSES:
            raise ErrorResponse(404, "The sandbox has no such path.")
        if self._method != ("GET" if self.call == "models" else "POST"):
            raise ErrorResponse(405, "Use GET for models and POST for everything else.")
        if self.key == INVALID_KEY or (knobs.keys is not None and self.key not in knobs.keys):
            raise ErrorResponse(401, "Incorrect API key provided.", "authentication_error")
        if knobs.status:
            raise ErrorResponse(knobs.status, knobs.message, "sandbox_error")

    def _read(self) -> RequestJson:
        try:
            body = json_text.read(self._content, json_text.REQUEST_BOUNDS)
        except json_text.JsonInvalid as problem:
            raise ErrorResponse(400, f"The body cannot be read. {problem}") from None
        if not isinstance(body, dict):
            raise ErrorResponse(400, "The body must be a JSON object.")
        return body

    async def _stream(self, events: Iterator[dict[str, Any]], knobs: Faults) -> None:
        first = next(events)  # a bad request is refused before the stream begins
        await _start(self._send, 200, {"content-type": "text/event-stream"})
        await _push(self._send, b"")  # a server may hold the head until there is a body
        for number, event in enumerate([first, *events]):
            await asyncio.sleep(knobs.pause)
            if number == knobs.cut_after:
                return  # the server closes the connection of an answer that was not finished
            if number == knobs.malformed_after:
                await _push(self._send, b'data: {"choices": [\n\n')
            if number == knobs.failed_after:
                await _push(
                    self._send, b"data: " + json_text.write(ErrorResponse(500, knobs.message).body) + b"\n\n"
                )
            await _push(self._send, b"data: " + json_text.write(event) + b"\n\n")
        if not knobs.no_done:
            await _push(self._send, b"data: [DONE]\n\n")
        await self._send({"type": "http.response.body", "body": b""})


def _body_of(content: bytes) -> Any:
    """What can be read of it; None when nothing can."""
    try:
        return json_text.read(content, json_text.REQUEST_BOUNDS)
    except json_text.JsonInvalid:
        return None


async def _answer_control(control: Control, method: str, content: bytes, send: Send) -> None:
    try:
        if method == "POST":
            control.turn(json_text.read(content, json_text.REQUEST_BOUNDS))
        elif method == "DELETE":
            control.reset()
    except (ValueError, TypeError, AttributeError) as problem:
        await _json(send, 400, ErrorResponse(400, str(problem)).body)
        return
    await _json(send, 200, control.report())


async def _live(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _json(
    send: Send, status: int, body: dict[str, Any], *, extra: dict[str, str] | None = None, cut: bool = False
) -> None:
    await _whole(send, status, "application/json", json_text.write(body), extra=extra, cut=cut)


async def _whole(
    send: Send,
    status: int,
    kind: str,
    content: bytes,
    *,
    extra: dict[str, str] | None = None,
    cut: bool = False,
) -> None:
    headers = {"content-type": kind, "content-length": str(len(content)), **(extra or {})}
    await _start(send, status, {name: value for name, value in headers.items() if value})
    if cut:
        await _push(send, content[: len(content) // 2])
        return  # the server closes the connection of an answer that was not finished
    await send({"type": "http.response.body", "body": content})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _push(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


def make_sandbox(*, control: Control | None = None, body: BodyLimit = QUERY_BODY) -> Sandbox:
    """A sandbox of its own; with a control it has knobs."""
    return Sandbox(control, body)
