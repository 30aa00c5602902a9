"""Translates OpenAI's messages to Gemini's contents.

Vendor facts as of November 2026, docs.cloud.google.com: "Generate content with the Gemini API" (contents, parts, systemInstruction),
"Image understanding" (types of images), "Function calling" (one turn has the results of all calls of the turn before, in their order, and
nothing else) and "Thought signatures" (Gemini 3 refuses its earlier calls without their signature; calls made by other models get the
placeholder NO_SIGNATURE). Calls and results are matched by name and order: the field `id`, which the Gemini API has, is refused by Vertex AI.
FunctionDeclaration of the REST reference has the allowed names; colons are left out, because not all models accept them. Empty texts
are refused, and so are calls before the first user message.
"""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_type
from typing import Any

from serving_ui.catalogue import conversation
from serving_ui.catalogue.conversation import ChatMessage, ToolCall
from serving_ui.catalogue.openai_request import ImagePart, TextPart
from serving_ui.catalogue.providers.google_cloud_vertex_ai.models import generation
from serving_ui.catalogue.vendor_rules import IdentifierFormat, VendorRules
from serving_ui.catalogue.wire_format import Json
from serving_ui.lib import json_text

NAME = "Google Cloud Vertex AI"
RULES = VendorRules(
    provider=NAME,
    tool_names=IdentifierFormat(first="A-Za-z_", rest="A-Za-z0-9_.-", max_length=64),
    call_ids=IdentifierFormat(rest="!-~", max_length=256),  # never sent
    max_stop_sequences=16,
    image_types=frozenset({"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"}),
    image_roles=frozenset({"user", "assistant"}),
)
NO_SIGNATURE = "skip_thought_signature_validator"
_FIRST_GENERATION_WITH_SIGNATURES = 3
_MAX_NAME_LENGTH = 255
_DEFAULT_MEDIA_TYPE = "image/jpeg"  # if the extension is unknown; a media type is required
_USER, _MODEL, _RESULTS = "user", "model", "results"


def contents(body: Mapping[str, Any], model: str) -> Json:
    """`contents`, and `systemInstruction` if there are system messages."""
    history = conversation.read(body, RULES)
    signed = generation(model) >= _FIRST_GENERATION_WITH_SIGNATURES
    turns = conversation.merge_turns(_turn(each, signed=signed) for each in _in_order(history.messages))
    sent: Json = {
        "contents": [{"role": _MODEL if role == _MODEL else _USER, "parts": parts} for role, parts in turns]
    }
    system = [{"text": each.text} for each in history.system]
    return {**sent, "systemInstruction": {"parts": system}} if system else sent


def _in_order(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The messages, with tool results in the order of their calls."""
    turn = 0
    positions = []
    for each in messages:
        turn += each.answered_call is None
        positions.append((turn, each.answered_call.position if each.answered_call else -1))
    return [
        each for _position, each in sorted(zip(positions, messages, strict=True), key=lambda pair: pair[0])
    ]


def _turn(message: ChatMessage, *, signed: bool) -> tuple[str, list[Json]]:
    if message.answered_call is not None:
        response = {"name": message.answered_call.vendor_name, "response": _result(message.text)}
        return _RESULTS, [{"functionResponse": response}]
    parts = [_part(part) for part in message.parts]
    if not message.is_assistant:
        return _USER, parts
    return _MODEL, parts + [_call(call, signed=signed) for call in message.calls]


def _call(call: ToolCall, *, signed: bool) -> Json:
    part: Json = {"functionCall": {"name": call.vendor_name, "args": call.arguments}}
    signature = _signature(call.original)
    if signature or (signed and call.position == 0):
        part["thoughtSignature"] = signature or NO_SIGNATURE
    return part


def _part(part: TextPart | ImagePart) -> Json:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if part.url:
        return {"fileData": {"mimeType": _media_type(part.url), "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _media_type(url: str) -> str:
    # Not with urllib, which caches the URLs that it parses: callers could fill its cache.
    name = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return guess_type(name[-_MAX_NAME_LENGTH:])[0] or _DEFAULT_MEDIA_TYPE


def _signature(call: Mapping[str, Any]) -> str:
    """The thought signature, in the field used by Google's OpenAI-compatible API and by our responses."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else ""


def _result(text: str) -> Json:
    """The result of a tool: a JSON object as it is, other text as `output`."""
    try:
        value = json_text.read(text.encode(), json_text.REQUEST_BOUNDS, lenient=True)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"output": text}
