"""The completions task: prompt in OpenAI's format → `POST /v1/complete` for legacy models, `/v1/messages` for all others.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/completions and docs.anthropic.com/en/api/prompt-validation: the
legacy API takes one prompt, which begins with a `Human:` turn and ends with an `Assistant:` turn, returns no usage, and does not
serve newer models.
"""

from __future__ import annotations

import re

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.providers.anthropic import chat_request, chat_response
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

_LEGACY = re.compile(r"claude-(1|2|instant)\b")
_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_SUPPORTED = ("prompt", "max_tokens", "temperature", "top_p", "stop", "metadata", "service_tier")


def is_legacy(model: str) -> bool:
    """Whether the model is served at `/v1/complete`."""
    return _LEGACY.match(model) is not None


def prompt_body(body: Json, model: str) -> Json:
    """The body for either URL."""
    body = openai_request.merge_extra_params(body)
    prompt = openai_request.single_prompt(body, chat_request.RULES)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=chat_request.NAME)
    max_tokens = openai_request.max_tokens(body) or chat_request.DEFAULT_MAX_TOKENS
    limits = (
        {"prompt": _as_turns(prompt), "max_tokens_to_sample": max_tokens}
        if is_legacy(model)
        else {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
    )
    stream = {"stream": True} if body.get("stream") else {}
    return openai_request.merge_parameters(
        {
            "model": model,
            **limits,
            **chat_request.sampling(body),
            **chat_request.service_fields(body),
            **stream,
        },
        own,
    )


def _as_turns(prompt: str) -> str:
    """The prompt with `Human:` and `Assistant:` turns, unchanged if it has them already."""
    if _HUMAN in "\n\n" + prompt.lstrip() and _ASSISTANT in prompt:
        return prompt
    return f"{_HUMAN} {prompt}{_ASSISTANT}"


def translate_completion(response: Json, context: RequestContext) -> Json:
    """The response of either URL as a `text_completion`."""
    legacy = response["type"] == "completion"
    text = response["completion"] if legacy else chat_response.joined_text(response)
    counts = None if legacy else chat_response.translate_usage(response["usage"])
    reason = chat_response.finish_reason(response["stop_reason"])
    return openai_response.text_completion(
        context, [(text, reason)], counts, id=response["id"], model=response["model"]
    )


class CompletionStream:
    """One stream of either URL, as `text_completion` chunks."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self._context = context
        self._message = chat_response.MessageStream(context)

    @property
    def counts(self) -> Json | None:
        return self._message.counts

    def take(self, event: StreamEvent) -> list[Json]:
        data = event.data
        if data.get("type") == "completion":
            return self._legacy_chunk(data)
        chunks = [self._to_text_chunk(chunk) for chunk in self._message.take(event)]
        self.finished = self._message.finished
        return [chunk for chunk in chunks if chunk is not None]

    def _legacy_chunk(self, data: Json) -> list[Json]:
        reason = data.get("stop_reason")
        self.finished = reason is not None
        finish = chat_response.finish_reason(reason) if reason else None
        whole = openai_response.text_chunk(
            self._context,
            data["completion"],
            finish_reason=finish,
            id=data.get("id", ""),
            model=data.get("model", ""),
        )
        return [whole]

    def _to_text_chunk(self, chunk: Json) -> Json | None:
        head = {"id": chunk["id"], "model": chunk["model"]}
        if not chunk["choices"]:
            return openai_response.usage_chunk(self._context, chunk["usage"], kind="text_completion", **head)
        choice = chunk["choices"][0]
        text = choice["delta"].get("content") or ""
        if not text and not choice["finish_reason"]:
            return None
        return openai_response.text_chunk(self._context, text, finish_reason=choice["finish_reason"], **head)
