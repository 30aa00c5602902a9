"""Builds responses and chunks in OpenAI's format for all providers. No I/O."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from serving_ui.catalogue import openai_request
from serving_ui.catalogue.vendor_rules import VendorRules
from serving_ui.catalogue.wire_format import Json, RequestContext
from serving_ui.lib import json_text


def usage(
    prompt: int,
    completion: int | None = None,
    *,
    cached: int | None = None,
    written: int | None = None,
    reasoning: int | None = None,
) -> Json:
    """The `usage` object. `completion` is None for embeddings, and in a stream until it is known.

    `cached` are the prompt tokens read from the provider's cache, `written` those written to it; `reasoning` are the completion tokens
    used for thinking.
    """
    counts: Json = {"prompt_tokens": prompt}
    if completion is not None:
        counts["completion_tokens"] = completion
    counts["total_tokens"] = prompt + (completion or 0)
    details = {"cached_tokens": cached, "cache_write_tokens": written or None}
    if known := {name: count for name, count in details.items() if count is not None}:
        counts["prompt_tokens_details"] = known
    if reasoning is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return counts


def message(content: str | None, *, tool_calls: Sequence[Json] = (), **more: Any) -> Json:
    """An assistant message. `more` are fields that only some providers have, such as `reasoning_content`; None is left out."""
    fields: Json = {"role": "assistant", "content": content}
    if tool_calls:
        fields["tool_calls"] = list(tool_calls)
    return fields | {name: value for name, value in more.items() if value is not None}


def tool_call(context: RequestContext, rules: VendorRules, call_id: str, name: str, arguments: Any) -> Json:
    """A complete tool call, with the caller's name of the tool. `arguments` is an object or JSON text; None and empty text are `{}`."""
    text = arguments if isinstance(arguments, str) else json_text.write(arguments).decode()
    return _tool_call(context, rules, call_id, name, "{}" if _is_empty_json(text) else text)


def tool_call_start(context: RequestContext, rules: VendorRules, call_id: str, name: str) -> Json:
    """The first piece of a streamed tool call, with empty arguments."""
    return _tool_call(context, rules, call_id, name, "")


def _tool_call(context: RequestContext, rules: VendorRules, call_id: str, name: str, arguments: str) -> Json:
    function = {"name": openai_request.original_tool_name(context.body, rules, name), "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _is_empty_json(arguments: str) -> bool:
    return arguments.strip() in ("", "null")


class ToolArgumentsStream:
    """The arguments of one streamed tool call. Empty arguments and null become `{}`, because clients parse them as JSON."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False

    def take(self, piece: str | None) -> str:
        """The text to send now. Pieces that may become null are held back."""
        held, self._held = self._held + (piece or ""), ""
        if not self._begun and "null".startswith(held.strip()):
            self._held = held
            return ""
        self._begun = True
        return held

    def rest(self) -> str:
        """The text to send after the last piece."""
        begun, self._begun = self._begun, True
        return "" if begun else "{}"


def logprob(token: str, value: float) -> Json:
    """One entry of `logprobs`."""
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def logprobs(content: Sequence[Json]) -> Json:
    """The `logprobs` of a choice, with an empty `top_logprobs` for tokens that have none."""
    return {
        "content": [{**each, "top_logprobs": each.get("top_logprobs", [])} for each in content],
        "refusal": None,
    }


def choice(index: int, message: Json, finish_reason: str, *, logprobs: Any = None) -> Json:
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def chat_completion(
    context: RequestContext, choices: Sequence[Json], counts: Json | None, *, id: str = "", model: str = ""
) -> Json:
    """A whole `chat.completion`."""
    whole = _common_fields("chat.completion", context, id, model) | {"choices": list(choices)}
    return whole if counts is None else whole | {"usage": counts}


def text_completion(
    context: RequestContext,
    choices: Sequence[tuple[str, str]],
    counts: Json | None,
    *,
    id: str = "",
    model: str = "",
) -> Json:
    """A whole `text_completion`; `choices` are (text, finish reason)."""
    listed = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        for index, (text, reason) in enumerate(choices)
    ]
    whole = _common_fields("text_completion", context, id, model) | {"choices": listed}
    return whole if counts is None else whole | {"usage": counts}


def embeddings(
    context: RequestContext, vectors: Sequence[Sequence[float]], counts: Json | None, *, model: str = ""
) -> Json:
    """A list of embeddings, in base64 if the request has that `encoding_format`."""
    encoded = openai_request.merge_extra_params(context.body).get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _float32_base64(vector) if encoded else list(vector),
        }
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": model or context.model, "usage": counts or usage(0)}


def chat_chunk(
    context: RequestContext,
    delta: Json,
    *,
    index: int = 0,
    finish_reason: str | None = None,
    logprobs: Any = None,
    id: str = "",
    model: str = "",
) -> Json:
    """A `chat.completion.chunk` with one choice."""
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return _common_fields("chat.completion.chunk", context, id, model) | {"choices": [choice]}


def text_chunk(
    context: RequestContext,
    text: str,
    *,
    index: int = 0,
    finish_reason: str | None = None,
    id: str = "",
    model: str = "",
) -> Json:
    """A `text_completion` chunk with one choice."""
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return _common_fields("text_completion", context, id, model) | {"choices": [choice]}


def usage_chunk(
    context: RequestContext,
    counts: Json,
    *,
    kind: str = "chat.completion.chunk",
    id: str = "",
    model: str = "",
) -> Json:
    """The last chunk, with the token counts and without choices."""
    return _common_fields(kind, context, id, model) | {"choices": [], "usage": counts}


def _common_fields(kind: str, context: RequestContext, id: str, model: str) -> Json:
    return {
        "id": id or context.id,
        "object": kind,
        "created": context.created,
        "model": model or context.model,
    }


def _float32_base64(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats in base64, as OpenAI sends them."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return b64encode(packed.tobytes()).decode()
