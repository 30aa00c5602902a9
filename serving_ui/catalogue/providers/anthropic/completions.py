"""The completions task: OpenAI-shaped prompt → `POST /v1/complete` for the models that know only that, `/v1/messages` for all others.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/completions and docs.anthropic.com/en/api/prompt-validation: the
legacy interface takes one prompt, which begins with a `Human:` turn and ends with an `Assistant:` turn, tells no usage, and later
models are not served there.
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
    """Whether the model is asked at `/v1/complete`."""
    return _LEGACY.match(model) is not None


def prompt_body(body: Json, model: str) -> Json:
    """The body for either address."""
    body = openai_request.merge_extra_params(body)
    prompt = openai_request.single_prompt(body, chat_request.RULES)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=chat_request.NAME)
    most = openai_request.max_tokens(body) or chat_request.DEFAULT_MAX_TOKENS
    limits = (
        {"prompt": _as_turns(prompt), "max_tokens_to_sample": most}
        if is_legacy(model)
        else {"messages": [{"role": "user", "content": prompt}], "max_tokens": most}
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
    """A prompt that has turns already stays as it is."""
    if _HUMAN in "\n\n" + prompt.lstrip() and _ASSISTANT in prompt:
        return prompt
    return f"{_HUMAN} {prompt}{_ASSISTANT}"


def translate_completion(reply: Json, context: RequestContext) -> Json:
    """The answer of either address as a `text_completion`."""
    legacy = reply["type"] == "completion"
    text = reply["completion"] if legacy else chat_response.joined_text(reply)
    counts = None if legacy else chat_response.translate_usage(reply["usage"])
    reason = chat_response.finish_reason(reply["stop_reason"])
    return openai_response.text_completion(
        context, [(text, reason)], counts, id=reply["id"], model=reply["model"]
    )


class CompletionStream:
    """One stream of either address, as `text_completion` chunks."""

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
            return self._completed(data)
        chunks = [self._as_text(chunk) for chunk in self._message.take(event)]
        self.finished = self._message.finished
        return [chunk for chunk in chunks if chunk is not None]

    def _completed(self, data: Json) -> list[Json]:
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

    def _as_text(self, chunk: Json) -> Json | None:
        head = {"id": chunk["id"], "model": chunk["model"]}
        if not chunk["choices"]:
            return openai_response.usage_chunk(self._context, chunk["usage"], kind="text_completion", **head)
        said = chunk["choices"][0]
        text = said["delta"].get("content") or ""
        if not text and not said["finish_reason"]:
            return None
        return openai_response.text_chunk(self._context, text, finish_reason=said["finish_reason"], **head)
