"""OpenAI-shaped answers and chunks, made in one place so that every provider's look alike. Pure."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from serving_ui.catalogue import openai_request
from serving_ui.catalogue.vendor_rules import Rules
from serving_ui.catalogue.wire_format import Asked, Json
from serving_ui.lib import json_text


def usage(
    prompt: int,
    completion: int | None = None,
    *,
    cached: int | None = None,
    written: int | None = None,
    reasoning: int | None = None,
) -> Json:
    """Token counts. `completion` is None for embeddings, and while a stream has not told it.

    `cached` are those of `prompt` that the provider had kept, `written` those that it keeps from now on; `reasoning` those of
    `completion` that went into thinking.
    """
    counts: Json = {"prompt_tokens": prompt}
    if completion is not None:
        counts["completion_tokens"] = completion
    counts["total_tokens"] = prompt + (completion or 0)
    details = {"cached_tokens": cached, "cache_write_tokens": written or None}
    if told := {name: count for name, count in details.items() if count is not None}:
        counts["prompt_tokens_details"] = told
    if reasoning is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return counts


def message(content: str | None, *, tool_calls: Sequence[Json] = (), **more: Any) -> Json:
    """What the assistant said. `more` is what not every provider has, such as `reasoning_content`."""
    said: Json = {"role": "assistant", "content": content}
    if tool_calls:
        said["tool_calls"] = list(tool_calls)
    return said | {name: value for name, value in more.items() if value is not None}


def tool_call(asked: Asked, rules: Rules, call_id: str, name: str, arguments: Any) -> Json:
    """A whole call under the caller's own name of the tool. `arguments` is an object or its JSON text; nothing is an empty object."""
    text = arguments if isinstance(arguments, str) else json_text.write(arguments).decode()
    return _call(asked, rules, call_id, name, "{}" if _is_nothing(text) else text)


def begun_call(asked: Asked, rules: Rules, call_id: str, name: str) -> Json:
    """A streamed call, whose arguments follow."""
    return _call(asked, rules, call_id, name, "")


def _call(asked: Asked, rules: Rules, call_id: str, name: str, arguments: str) -> Json:
    function = {"name": openai_request.own_name(asked.body, rules, name), "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _is_nothing(arguments: str) -> bool:
    return arguments.strip() in ("", "null")


class Arguments:
    """The arguments of one streamed call, piece by piece. Clients parse them, so nothing, or null, is an empty object."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False

    def take(self, piece: str | None) -> str:
        """What can be passed on of the pieces so far."""
        held, self._held = self._held + (piece or ""), ""
        if not self._begun and "null".startswith(held.strip()):
            self._held = held
            return ""
        self._begun = True
        return held

    def rest(self) -> str:
        """What is still to be passed on when all have come."""
        begun, self._begun = self._begun, True
        return "" if begun else "{}"


def logprob(token: str, value: float) -> Json:
    """One of the entries of `logprobs`."""
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def logprobs(content: Sequence[Json]) -> Json:
    """The `logprobs` of a choice: of each token with what `top_logprobs` has asked for."""
    return {
        "content": [{**each, "top_logprobs": each.get("top_logprobs", [])} for each in content],
        "refusal": None,
    }


def choice(index: int, said: Json, finish_reason: str, *, logprobs: Any = None) -> Json:
    return {"index": index, "message": said, "logprobs": logprobs, "finish_reason": finish_reason}


def chat(
    asked: Asked, choices: Sequence[Json], counts: Json | None, *, id: str = "", model: str = ""
) -> Json:
    """A whole `chat.completion`."""
    whole = _head("chat.completion", asked, id, model) | {"choices": list(choices)}
    return whole if counts is None else whole | {"usage": counts}


def completion(
    asked: Asked, choices: Sequence[tuple[str, str]], counts: Json | None, *, id: str = "", model: str = ""
) -> Json:
    """A whole `text_completion`; `choices` are (text, finish reason)."""
    listed = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        for index, (text, reason) in enumerate(choices)
    ]
    whole = _head("text_completion", asked, id, model) | {"choices": listed}
    return whole if counts is None else whole | {"usage": counts}


def embeddings(
    asked: Asked, vectors: Sequence[Sequence[float]], counts: Json | None, *, model: str = ""
) -> Json:
    """A list of embeddings, in base64 when the question says so."""
    encoded = openai_request.merged(asked.body).get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if encoded else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": model or asked.model, "usage": counts or usage(0)}


def chunk(
    asked: Asked,
    delta: Json,
    *,
    index: int = 0,
    finish_reason: str | None = None,
    logprobs: Any = None,
    id: str = "",
    model: str = "",
) -> Json:
    """A `chat.completion.chunk` with one choice."""
    said = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return _head("chat.completion.chunk", asked, id, model) | {"choices": [said]}


def text_chunk(
    asked: Asked,
    text: str,
    *,
    index: int = 0,
    finish_reason: str | None = None,
    id: str = "",
    model: str = "",
) -> Json:
    """A `text_completion` chunk with one choice."""
    said = {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return _head("text_completion", asked, id, model) | {"choices": [said]}


def usage_chunk(
    asked: Asked, counts: Json, *, kind: str = "chat.completion.chunk", id: str = "", model: str = ""
) -> Json:
    """The last chunk: no choices, only the token counts."""
    return _head(kind, asked, id, model) | {"choices": [], "usage": counts}


def _head(kind: str, asked: Asked, id: str, model: str) -> Json:
    return {"id": id or asked.id, "object": kind, "created": asked.created, "model": model or asked.model}


def _base64(vector: Sequence[float]) -> str:
    """Four bytes a number, the lowest first, as OpenAI has them."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return b64encode(packed.tobytes()).decode()
