"""What the sandbox says: the same question always gets the same answer. Pure; no model anywhere, and the text says so."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any

CREATED = 1767225600  # the same moment in every reply, so that replies can be compared
MODELS = ("sandbox-chat", "sandbox-completions", "sandbox-embeddings")
DIMENSIONS = 256
_MAX_DIMENSIONS = 4096
_MAX_NUMBERS = 1_000_000
_MAX_TEXTS = 2048
_MAX_WORDS = 20_000  # of one request that its vectors are made from; each takes 3 us
_MAX_COUNTED = 64 * 1024  # characters whose tokens are counted; a longer text is taken to go on as it began
_MAX_QUOTED = 200
_TOKEN = re.compile(r"\w+|[^\w\s]")


class InvalidRequest(Exception):
    """The request is not one of the OpenAI wire. The text says why."""


def models() -> dict[str, Any]:
    entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": "sandbox"} for name in MODELS]
    return {"object": "list", "data": entries}


def chat_completion(body: dict[str, Any]) -> dict[str, Any]:
    text, reason, usage = _reply(body, _last_message(body))
    message = {"role": "assistant", "content": text}
    choices = [{"index": n, "message": message, "finish_reason": reason} for n in range(_choice_count(body))]
    return _envelope(body, "chat.completion", "chatcmpl") | {"choices": choices, "usage": usage}


def text_completion(body: dict[str, Any]) -> dict[str, Any]:
    text, reason, usage = _reply(body, _prompt(body))
    choices = [
        {"index": n, "text": text, "finish_reason": reason, "logprobs": None}
        for n in range(_choice_count(body))
    ]
    return _envelope(body, "text_completion", "cmpl") | {"choices": choices, "usage": usage}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str | list | int) for text in texts):
        raise InvalidRequest("input must be a text or a list of texts.")
    if isinstance(texts[0], int):
        texts = [texts]  # one text, given as its tokens
    asked = body.get("dimensions")
    size = DIMENSIONS if asked is None else asked
    if not isinstance(size, int) or not 1 <= size <= _MAX_DIMENSIONS:
        raise InvalidRequest(f"dimensions must be a whole number from 1 to {_MAX_DIMENSIONS}.")
    if len(texts) > _MAX_TEXTS or len(texts) * size > _MAX_NUMBERS:
        raise InvalidRequest("These are too many texts for one request. Send fewer.")
    packed = body.get("encoding_format") == "base64"
    words, counted = _MAX_WORDS // len(texts) + 1, _MAX_COUNTED // len(texts)
    data = [
        {"object": "embedding", "index": n, "embedding": _vector(str(text), size, packed, words)}
        for n, text in enumerate(texts)
    ]
    tokens = sum(_tokens(str(text), counted) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model", "sandbox"), "usage": usage}


def chat_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed chat reply."""
    text, reason, usage = _reply(body, _last_message(body))
    envelope = _envelope(body, "chat.completion.chunk", "chatcmpl")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    for delta in deltas:
        yield envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    if _wants_usage(body):
        yield envelope | {"choices": [], "usage": usage}


def completion_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed completion."""
    text, reason, usage = _reply(body, _prompt(body))
    envelope = _envelope(body, "text_completion", "cmpl")
    for piece in _pieces(text):
        yield envelope | {"choices": [{"index": 0, "text": piece, "finish_reason": None}]}
    yield envelope | {"choices": [{"index": 0, "text": "", "finish_reason": reason}]}
    if _wants_usage(body):
        yield envelope | {"choices": [], "usage": usage}


def _reply(body: dict[str, Any], question: str) -> tuple[str, str, dict[str, int]]:
    quoted = question if len(question) <= _MAX_QUOTED else question[:_MAX_QUOTED] + "…"
    text = f"This is a canned reply from the sandbox; no model has read your text. You wrote: {quoted}"
    reason = "stop"
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < _tokens(text):
        text, reason = _cut(text, limit), "length"
    asked, said = _tokens(question), _tokens(text)
    return text, reason, {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _last_message(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise InvalidRequest("messages must be a list of messages.")
    asked = [message for message in messages if message.get("role") == "user"] or messages
    content = asked[-1].get("content") or ""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return " ".join(str(part) for part in parts if part)
    return str(content)


def _prompt(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = prompt[0] if isinstance(prompt[0], str) else "(tokens)"
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a text or a list of texts.")
    return prompt


def _envelope(body: dict[str, Any], kind: str, prefix: str) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
    return {
        "id": f"{prefix}-{digest}",
        "object": kind,
        "created": CREATED,
        "model": body.get("model", "sandbox"),
    }


def _choice_count(body: dict[str, Any]) -> int:
    asked = body.get("n") or 1
    if not isinstance(asked, int) or not 1 <= asked <= 8:
        raise InvalidRequest("n must be a whole number from 1 to 8.")
    return asked


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _tokens(text: str, counted: int = _MAX_COUNTED) -> int:
    found = len(_TOKEN.findall(text[:counted]))
    return found if len(text) <= counted else found * len(text) // counted


def _cut(text: str, limit: int) -> str:
    return text[: [token.end() for token in _TOKEN.finditer(text)][limit - 1]]


def _vector(text: str, size: int, packed: bool, words: int) -> list[float] | str:
    """Each of the first words pushes a few directions, so texts that share words lie closer together. Length one."""
    numbers = [0.0] * size
    for word in [found[0] for found in islice(_TOKEN.finditer(text.lower()), words)] or [""]:
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        for n in range(0, 24, 3):
            sign = 1.0 if digest[n] & 1 else -1.0
            numbers[int.from_bytes(digest[n + 1 : n + 3], "big") % size] += sign * (1 + digest[n] / 255)
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    floats = array("f", (number / length for number in numbers))
    return base64.b64encode(floats.tobytes()).decode() if packed else list(floats)
