"""Passes a provider's answer on to the caller: whole, or event by event as it comes.

A stream ends in one of two ways: with exactly one `[DONE]`, when the provider's stream was whole, or with an error event and
no `[DONE]`, when it was cut, late, garbled or said so itself. Until the first event has come nothing is sent, so that an
early failure is an ordinary error answer with a status.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from pydantic_core import from_json, to_json

from serving_ui.gateway.caller import Caller, Header
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import DONE, EventSplitter, TooLong, event
from serving_ui.gateway.upstream import Reply

Redact = Callable[[bytes], str]
_GARBLED = "The provider sent an event that cannot be understood, so its answer is not complete. Try again."
_SHORT = "The provider's stream ended before the answer was complete. Try again."


async def relay_whole(reply: Reply, caller: Caller, *extra: Header) -> None:
    """A JSON object, passed on byte by byte."""
    content = await _timed(caller, reply.body())
    if not _is_object(content):
        raise GatewayError(
            400,
            "The provider's answer is not a JSON object. "
            "The person who manages the endpoint must check the address that it leads to.",
        )
    await caller.answer(200, content, *extra)


async def relay_stream(reply: Reply, caller: Caller, redact: Redact, *extra: Header) -> None:
    """Events, each sent on as soon as it is whole."""
    if not reply.is_stream:
        raise GatewayError(
            501, "The provider did not stream although it was asked to. Leave out the field stream."
        )
    stream = _Stream(redact)
    while not stream.over:
        portion = await _timed(caller, reply.read(), first=not caller.began)
        ready = stream.take(portion) if portion else stream.close()
        if ready:
            if not caller.began:
                await caller.begin(*extra)
            await caller.push(ready)
        if stream.error is not None:
            raise stream.error
    await caller.end()


class _Stream:
    """The state of one stream: what may be sent on, and whether it has ended well."""

    def __init__(self, redact: Redact) -> None:
        self._splitter = EventSplitter()
        self._redact = redact
        self._finished = False
        self.over = False
        self.error: GatewayError | None = None

    def take(self, portion: bytes) -> bytes:
        """The events that have become whole, ready to send."""
        try:
            return self._passed(self._splitter.feed(portion))
        except TooLong:
            self.error = GatewayError(503, _GARBLED)
            return b""

    def close(self) -> bytes:
        """The provider has ended the message. Without [DONE] it was whole only if each choice said why it ended."""
        ready = self._passed(self._splitter.finish())
        if not self.over and self.error is None:
            if not self._finished:
                self.error = GatewayError(503, _SHORT)
                return ready
            self.over = True
            ready += event(DONE)
        return ready

    def _passed(self, payloads: list[bytes]) -> bytes:
        ready: list[bytes] = []
        for payload in payloads:
            if payload.strip() == DONE:
                self.over = True
                ready.append(event(DONE))
                break
            content = _object(payload)
            if content is None:
                self.error = GatewayError(503, _GARBLED)
                break
            if content.get("error"):
                self.error = GatewayError(
                    500, f"The provider failed while answering. It said: {self._redact(payload)}"
                )
                break
            self._finished = self._finished or _says_finished(content)
            ready.append(event(payload if b"\n" not in payload else to_json(content)))
        return b"".join(ready)


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        content = from_json(payload)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _says_finished(content: dict[str, Any]) -> bool:
    choices = content.get("choices")
    if not isinstance(choices, list):
        return False
    return any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def _is_object(content: bytes) -> bool:
    """Cheap: a body that HTTP says is whole, and that begins and ends as an object does, is not parsed again."""
    if not (content[:1] == b"{" and content[-1:] == b"}"):
        content = content.strip()
    return content[:1] == b"{" and content[-1:] == b"}"


async def _timed(caller: Caller, reading: Any, *, first: bool = True) -> bytes:
    """Read, and count the waiting as the provider's time, as long as the answer's headers have not been sent."""
    if not first:
        return bytes(await reading)
    began = perf_counter()
    try:
        return bytes(await reading)
    finally:
        caller.waited(perf_counter() - began)
