"""OpenAI's messages as Gemini's contents.

Vendor facts as of November 2026, docs.cloud.google.com: "Generate content with the Gemini API" (contents, parts, systemInstruction),
"Function calling" (one turn answers all calls of the turn before, in their order) and "Thought signatures" (Gemini 3 refuses a call
of its own that comes back without its signature; a call that it has not made carries the placeholder below). Calls and their answers
are paired by name and order: the field `id`, which the Gemini API has, is an unknown field here and refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_type
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json

from serving_ui.catalogue import questions
from serving_ui.catalogue.exchange import Json
from serving_ui.catalogue.providers.google_cloud_vertex_ai.models import generation
from serving_ui.catalogue.questions import Image, Text

NO_SIGNATURE = "skip_thought_signature_validator"
_FIRST_WITH_SIGNATURES = 3
_ANY_IMAGE = "image/jpeg"  # a media type is required, and an address without an ending tells none


def conversation(body: Mapping[str, Any], model: str) -> Json:
    """`contents`, and `systemInstruction` when there is one."""
    listed = questions.messages(body)
    system = [
        {"text": text}
        for position, message in enumerate(listed)
        if message["role"] == "system"
        and (text := questions.text_only(message.get("content"), at=f"messages[{position}].content"))
    ]
    turns = _Turns(signed=generation(model) >= _FIRST_WITH_SIGNATURES)
    for position, message in enumerate(listed):
        if message["role"] != "system":
            turns.add(message, at=f"messages[{position}]")
    said: Json = {"contents": turns.finished()}
    return {**said, "systemInstruction": {"parts": system}} if system else said


class _Turns:
    """The contents so far, and the calls of the model that wait for answers."""

    def __init__(self, *, signed: bool) -> None:
        self._signed = signed
        self._contents: list[Json] = []
        self._calls: dict[str, tuple[int, str]] = {}
        self._answers: list[tuple[int, Json]] = []

    def add(self, message: Mapping[str, Any], *, at: str) -> None:
        if message["role"] == "tool":
            self._answer(message, at)
            return
        self._close()
        if message["role"] == "user":
            self._turn(
                "user", [_part(part) for part in questions.parts(message.get("content"), at=f"{at}.content")]
            )
        else:
            self._turn("model", self._said(message, at))

    def finished(self) -> list[Json]:
        self._close()
        return self._contents

    def _turn(self, role: str, parts: list[Json]) -> None:
        self._contents.append({"role": role, "parts": parts or [{"text": ""}]})

    def _said(self, message: Mapping[str, Any], at: str) -> list[Json]:
        parts = [_part(part) for part in questions.parts(message.get("content"), at=f"{at}.content")]
        for order, call in enumerate(questions.tool_calls(message, at=at)):
            self._calls[call.id] = (order, call.name)
            part: Json = {"functionCall": {"name": call.name, "args": call.arguments}}
            signature = _signature(message["tool_calls"][order])
            if signature or (self._signed and order == 0):
                part["thoughtSignature"] = signature or NO_SIGNATURE
            parts.append(part)
        return parts

    def _answer(self, message: Mapping[str, Any], at: str) -> None:
        known = self._calls.get(str(message.get("tool_call_id")))
        if known is None:
            raise questions.refuse(
                f"{at}.tool_call_id",
                "It must be the id of a tool call in an earlier message of the assistant.",
            )
        order, name = known
        text = questions.text_only(message.get("content"), at=f"{at}.content")
        self._answers.append((order, {"functionResponse": {"name": name, "response": _result(text)}}))

    def _close(self) -> None:
        """End the turn that answers calls."""
        if self._answers:
            self._turn("user", [part for _order, part in sorted(self._answers, key=lambda each: each[0])])
            self._answers = []


def _part(part: Text | Image) -> Json:
    if isinstance(part, Text):
        return {"text": part.text}
    if part.url:
        return {"fileData": {"mimeType": _media_type(part.url), "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.kind, "data": part.data}}


def _media_type(url: str) -> str:
    return guess_type(urlsplit(url).path)[0] or _ANY_IMAGE


def _signature(call: Mapping[str, Any]) -> str:
    """Where Google's own OpenAI-shaped API puts it, and where our answers do."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else ""


def _result(text: str) -> Json:
    """An object is the result itself, anything else its output."""
    try:
        value = from_json(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"output": text}
