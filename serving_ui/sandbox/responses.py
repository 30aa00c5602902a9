"""The canned responses, which depend only on the request. No model is involved, and the text says so. No I/O."""

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

CREATED = 1767225600  # constant, so that responses can be compared
MODELS = ("sandbox-chat", "sandbox-completions", "sandbox-embeddings")
DIMENSIONS = 256
_MAX_DIMENSIONS = 4096
_MAX_NUMBERS = 1_000_000
_MAX_TEXTS = 2048
_MAX_WORDS = 20_000  # of one request that its vectors are computed from; each takes 3 us
_MAX_COUNTED_CHARS = (
    64 * 1024
)  # characters whose tokens are counted; the count of a longer text is extrapolated
_MAX_QUOTED = 200
_TOKEN = re.compile(r"\w+|[^\w\s]")


class InvalidRequest(Exception):
    """The request is not valid in OpenAI's API. The text says why."""


def models() -> dict[str, Any]:
    entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": "sandbox"} for name in MODELS]
    return {"object": "list", "data": entries}


def chat_completion(body: dict[str, Any]) -> dict[str, Any]:
    text, reason, usage = _text_and_usage(body, _last_message(body))
    message = {"role": "assistant", "content": text}
    choices = [{"index": n, "message": message, "finish_reason": reason} for n in range(_choice_count(body))]
    return _common_fields(body, "chat.completion", "chatcmpl") | {"choices": choices, "usage": usage}


def text_completion(body: dict[str, Any]) -> dict[str, Any]:
    text, reason, usage = _text_and_usage(body, _prompt(body))
    choices = [
        {"index": n, "text": text, "finish_reason": reason, "logprobs": None}
        for n in range(_choice_count(body))
    ]
    return _common_fields(body, "text_completion", "cmpl") | {"choices": choices, "usage": usage}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    value = body.get("input")
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str | list | int) for text in texts):
        raise InvalidRequest("input must be a string or a list of strings.")
    if isinstance(texts[0], int):
        texts = [texts]  # one text, as a list of token ids
    dimensions = body.get("dimensions")
    size = DIMENSIONS if dimensions is None else dimensions
    if not isinstance(size, int) or not 1 <= size <= _MAX_DIMENSIONS:
        raise InvalidRequest(f"dimensions must be a whole number from 1 to {_MAX_DIMENSIONS}.")
    if len(texts) > _MAX_TEXTS or len(texts) * size > _MAX_NUMBERS:
        raise InvalidRequest("These are too many texts for one request. Send fewer.")
    as_base64 = body.get("encoding_format") == "base64"
    max_words, max_counted = _MAX_WORDS // len(texts) + 1, _MAX_COUNTED_CHARS // len(texts)
    data = [
        {"object": "embedding", "index": n, "embedding": _vector(str(text), size, as_base64, max_words)}
        for n, text in enumerate(texts)
    ]
    tokens = sum(_count_tokens(str(text), max_counted) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model", "sandbox"), "usage": usage}


def chat_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed chat completion."""
    text, reason, usage = _text_and_usage(body, _last_message(body))
    envelope = _common_fields(body, "chat.completion.chunk", "chatcmpl")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _split_text(text)]
    for delta in deltas:
        yield envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    if _wants_usage(body):
        yield envelope | {"choices": [], "usage": usage}


def completion_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed completion."""
    text, reason, usage = _text_and_usage(body, _prompt(body))
    envelope = _common_fields(body, "text_completion", "cmpl")
    for piece in _split_text(text):
        yield envelope | {"choices": [{"index": 0, "text": piece, "finish_reason": None}]}
    yield envelope | {"choices": [{"index": 0, "text": "", "finish_reason": reason}]}
    if _wants_usage(body):
        yield envelope | {"choices": [], "usage": usage}


def _text_and_usage(body: dict[str, Any], prompt: str) -> tuple[str, str, dict[str, int]]:
    quoted = prompt if len(prompt) <= _MAX_QUOTED else prompt[:_MAX_QUOTED] + "…"
    text = f"This is a canned reply from the sandbox; no model has read your text. You wrote: {quoted}"
    reason = "stop"
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < _count_tokens(text):
        text, reason = _truncate(text, limit), "length"
    prompt_tokens, completion_tokens = _count_tokens(prompt), _count_tokens(text)
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return text, reason, usage | {"total_tokens": prompt_tokens + completion_tokens}


def _last_message(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise InvalidRequest("messages must be a list of messages.")
    candidates = [message for message in messages if message.get("role") == "user"] or messages
    content = candidates[-1].get("content") or ""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return " ".join(str(part) for part in parts if part)
    return str(content)


def _prompt(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = prompt[0] if isinstance(prompt[0], str) else "(tokens)"
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a string or a list of strings.")
    return prompt


def _common_fields(body: dict[str, Any], kind: str, prefix: str) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
    return {
        "id": f"{prefix}-{digest}",
        "object": kind,
        "created": CREATED,
        "model": body.get("model", "sandbox"),
    }


def _choice_count(body: dict[str, Any]) -> int:
    count = body.get("n") or 1
    if not isinstance(count, int) or not 1 <= count <= 8:
        raise InvalidRequest("n must be a whole number from 1 to 8.")
    return count


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _split_text(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _count_tokens(text: str, max_counted: int = _MAX_COUNTED_CHARS) -> int:
    found = len(_TOKEN.findall(text[:max_counted]))
    return found if len(text) <= max_counted else found * len(text) // max_counted


def _truncate(text: str, limit: int) -> str:
    return text[: [token.end() for token in _TOKEN.finditer(text)][limit - 1]]


def _vector(text: str, size: int, as_base64: bool, max_words: int) -> list[float] | str:
    """A unit vector to which each word adds a few components, so that texts with common words are closer together."""
    numbers = [0.0] * size
    for word in [found[0] for found in islice(_TOKEN.finditer(text.lower()), max_words)] or [""]:
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        for n in range(0, 24, 3):
            sign = 1.0 if digest[n] & 1 else -1.0
            numbers[int.from_bytes(digest[n + 1 : n + 3], "big") % size] += sign * (1 + digest[n] / 255)
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    floats = array("f", (number / length for number in numbers))
    return base64.b64encode(floats.tobytes()).decode() if as_base64 else list(floats)
