"""The completions task: prompt in OpenAI's format → `POST /v1/generate` for legacy models, `POST /v2/chat` for all others.

Vendor facts as of November 2026, docs.cohere.com/v1/reference/generate and …/docs/migrating-from-cogenerate-to-cochat. Generate takes
one prompt, returns up to five choices, removes `end_sequences` from the text (unlike `stop_sequences`), and streams JSON lines, not
server-sent events.
"""

from __future__ import annotations

import re

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.providers.cohere import chat_request, chat_response
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

_LEGACY = re.compile(r"command(-light)?(-nightly)?")
_SUPPORTED = (
    "prompt",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
_MAX_GENERATIONS = 5


def is_legacy(model: str) -> bool:
    """Whether only `POST /v1/generate` serves the model. Fine-tuned models have other ids and are chat models."""
    return _LEGACY.fullmatch(model) is not None


def generate_body(body: Json, model: str) -> Json:
    body = openai_request.merge_extra_params(body)
    prompt = openai_request.single_prompt(body, chat_request.RULES)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=chat_request.NAME)
    count = openai_request.number(body, "n", minimum=1, maximum=_MAX_GENERATIONS)
    sent = {
        "model": model,
        "prompt": prompt,
        **({"num_generations": count} if count and count > 1 else {}),
        **chat_request.sampling(body, stop="end_sequences"),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.merge_parameters(sent, own)


def chat_body(body: Json, model: str) -> Json:
    body = openai_request.merge_extra_params(body)
    supported = tuple(name for name in _SUPPORTED if name != "n")
    own = openai_request.vendor_parameters(body, supported=supported, provider=chat_request.NAME)
    sent = {
        "model": model,
        "messages": [{"role": "user", "content": openai_request.single_prompt(body, chat_request.RULES)}],
        **chat_request.sampling(body),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.merge_parameters(sent, own)


def translate_completion(response: Json, context: RequestContext) -> Json:
    """The response of either URL as a `text_completion`."""
    if "message" in response:
        counts = chat_response.translate_usage(response.get("usage"))
        choices = [
            (
                chat_response.joined_text(response),
                chat_response.finish_reason(response["finish_reason"], counts=counts),
            )
        ]
    else:
        counts = chat_response.translate_usage(response.get("meta"))
        choices = [
            (each["text"], chat_response.finish_reason(each.get("finish_reason"), counts=counts))
            for each in response["generations"]
        ]
    return openai_response.text_completion(context, choices, counts, id=response["id"])


class CompletionStream:
    """One stream of either URL, as `text_completion` chunks."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self._context = context
        self._message = chat_response.MessageStream(context)
        self._legacy_counts: Json | None = None

    @property
    def counts(self) -> Json | None:
        return self._legacy_counts or self._message.counts

    def take(self, event: StreamEvent) -> list[Json]:
        data = event.data
        match data.get("event_type"):
            case "text-generation":
                return [openai_response.text_chunk(self._context, data["text"], index=data.get("index") or 0)]
            case "stream-end":
                return self._end(data)
            case "stream-error":
                # Raises a ProviderError that fits a known reason.
                chat_response.finish_reason(data.get("finish_reason"), data.get("err"))
                raise ProviderError(f"{data.get('err') or 'no reason given'} ({data.get('finish_reason')})")
        chunks = [self._to_text_chunk(chunk) for chunk in self._message.take(event)]
        self.finished = self._message.finished
        return [chunk for chunk in chunks if chunk is not None]

    def _end(self, data: Json) -> list[Json]:
        whole = data.get("response") or {}
        self._legacy_counts = counts = chat_response.translate_usage(whole.get("meta"))
        ended = whole.get("generations") or [{"finish_reason": data.get("finish_reason")}]
        chunks = [
            openai_response.text_chunk(
                self._context,
                "",
                index=each.get("index") or 0,
                finish_reason=chat_response.finish_reason(each.get("finish_reason")),
            )
            for each in ended
        ]
        self.finished = True
        if counts is not None:
            chunks.append(openai_response.usage_chunk(self._context, counts, kind="text_completion"))
        return chunks

    def _to_text_chunk(self, chunk: Json) -> Json | None:
        if not chunk["choices"]:
            return openai_response.usage_chunk(
                self._context, chunk["usage"], kind="text_completion", id=chunk["id"]
            )
        choice = chunk["choices"][0]
        text = choice["delta"].get("content") or ""
        if not text and not choice["finish_reason"]:
            return None
        return openai_response.text_chunk(
            self._context, text, finish_reason=choice["finish_reason"], id=chunk["id"]
        )
