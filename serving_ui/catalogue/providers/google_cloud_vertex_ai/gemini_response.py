"""Translates responses of generateContent to OpenAI's format; its functions are also used for streams.

Vendor facts as of November 2026, docs.cloud.google.com, "GenerateContentResponse" of the REST reference: a stream's events are partial
responses in the same format, the last ones with `finishReason` and the final `usageMetadata`. The response to a blocked prompt has no
candidates but `promptFeedback`; thoughts are parts with `thought`, and count as output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from serving_ui.catalogue import openai_response
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_contents import RULES
from serving_ui.catalogue.wire_format import Json, MalformedResponse, RequestContext

_CONTENT_FILTER_REASONS = frozenset(
    {
        *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    }
)
_FAILURES = frozenset(
    {
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"),
    }
)
"""Finish reasons of unusable output. They are errors and not `stop`, because a retry usually succeeds."""

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"


@dataclass
class CandidateContent:
    """The content of one candidate's parts."""

    text: str = ""
    thoughts: str = ""
    calls: list[Json] = field(default_factory=list)
    images: list[Json] = field(default_factory=list)


def candidate_content(
    candidate: Mapping[str, Any],
    context: RequestContext,
    response_id: str,
    *,
    index: int,
    calls_before: int = 0,
) -> CandidateContent:
    """Read a candidate's parts. Parts that OpenAI's format cannot represent are left out."""
    found = CandidateContent()
    for part in (candidate.get("content") or {}).get("parts") or ():
        if "functionCall" in part:
            order = calls_before + len(found.calls)
            found.calls.append(_tool_call(part, context, fallback_id=f"call_{response_id}_{index}_{order}"))
        elif isinstance(part.get("text"), str):
            if part.get("thought"):
                found.thoughts += part["text"]
            else:
                found.text += part["text"]
        elif "inlineData" in part:
            blob = part["inlineData"]
            url = f"data:{blob['mimeType']};base64,{blob['data']}"
            found.images.append({"type": "image_url", "image_url": {"url": url}})
    return found


def _tool_call(part: Mapping[str, Any], context: RequestContext, *, fallback_id: str) -> Json:
    function = part["functionCall"]
    if "partialArgs" in function or function.get("willContinue"):
        raise MalformedResponse("A function call came in pieces, which the request did not ask for.")
    call_id = function.get("id") or fallback_id
    call = openai_response.tool_call(context, RULES, call_id, function["name"], function.get("args"))
    if isinstance(part.get("thoughtSignature"), str):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def finish_reason(candidate: Mapping[str, Any], *, called: bool, counts: Json | None = None) -> str | None:
    """OpenAI's finish reason; None if the candidate is not finished. Raises ProviderError with the counts."""
    reason = candidate.get("finishReason")
    if not reason or reason == _UNSPECIFIED:
        return None
    if reason in _FAILURES:
        why = candidate.get("finishMessage") or "The model's answer cannot be used."
        raise ProviderError(f"{why} ({reason})", counts=counts)
    if reason == "MAX_TOKENS":
        return "length"
    if reason in _CONTENT_FILTER_REASONS:
        return "content_filter"
    return "tool_calls" if called else "stop"


def block_reason(response: Mapping[str, Any]) -> str | None:
    """A sentence why the prompt was blocked; None if it was not."""
    feedback = response.get("promptFeedback") or {}
    reason = feedback.get("blockReason")
    if not reason:
        return None
    return f"The prompt was blocked ({reason}). {feedback.get('blockReasonMessage') or ''}".strip()


def translate_usage(response: Mapping[str, Any]) -> Json | None:
    """The usage; None if the response has none."""
    metadata = response.get("usageMetadata") or {}
    if "totalTokenCount" not in metadata and "promptTokenCount" not in metadata:
        return None
    prompt = metadata.get("promptTokenCount", 0) + metadata.get("toolUsePromptTokenCount", 0)
    thought = metadata.get("thoughtsTokenCount")
    completion = metadata.get("candidatesTokenCount", 0) + (thought or 0)
    cached = metadata.get("cachedContentTokenCount")
    return openai_response.usage(prompt, completion, cached=cached, reasoning=thought)


def logprobs(candidate: Mapping[str, Any]) -> Json | None:
    result = candidate.get("logprobsResult")
    if not result:
        return None
    chosen = result.get("chosenCandidates") or []
    tops = [top.get("candidates") or [] for top in result.get("topCandidates") or ()]
    tops += [[] for _ in range(len(chosen) - len(tops))]
    content = [
        _logprob(token) | {"top_logprobs": [_logprob(each) for each in top]}
        for token, top in zip(chosen, tops, strict=False)
    ]
    return openai_response.logprobs(content)


def _logprob(token: Mapping[str, Any]) -> Json:
    return openai_response.logprob(token.get("token") or "", token.get("logProbability", 0.0))


class ResponseIds(TypedDict):
    """Id and model of a response, as keyword arguments of the functions of openai_response.py."""

    id: str
    model: str


def response_ids(response: Mapping[str, Any]) -> ResponseIds:
    return {"id": response.get("responseId") or "", "model": response.get("modelVersion") or ""}


def translate_chat(response: Json, context: RequestContext) -> Json:
    """A complete response as a `chat.completion`."""
    return openai_response.chat_completion(
        context, _choices(response, context), translate_usage(response), **response_ids(response)
    )


def _choices(response: Json, context: RequestContext) -> list[Json]:
    why = block_reason(response)
    if why and not response.get("candidates"):
        return [openai_response.choice(0, openai_response.message(None, refusal=why), "content_filter")]
    choices = []
    for position, candidate in enumerate(_candidates(response)):
        index = candidate.get("index", position)
        found = candidate_content(candidate, context, response.get("responseId") or context.id, index=index)
        message = openai_response.message(
            found.text or (None if found.calls or found.images else ""),
            tool_calls=found.calls,
            reasoning_content=found.thoughts or None,
            images=found.images or None,
        )
        reason = (
            finish_reason(candidate, called=bool(found.calls), counts=translate_usage(response)) or "stop"
        )
        choices.append(openai_response.choice(index, message, reason, logprobs=logprobs(candidate)))
    return choices


def translate_completion(response: Json, context: RequestContext) -> Json:
    """A complete response as a `text_completion`."""
    if block_reason(response) and not response.get("candidates"):
        choices = [("", "content_filter")]
    else:
        choices = [
            (
                candidate_content(candidate, context, context.id, index=position).text,
                finish_reason(candidate, called=False, counts=translate_usage(response)) or "stop",
            )
            for position, candidate in enumerate(_candidates(response))
        ]
    return openai_response.text_completion(
        context, choices, translate_usage(response), **response_ids(response)
    )


def _candidates(response: Json) -> list[Json]:
    candidates = response.get("candidates")
    if not candidates:
        raise MalformedResponse("It has neither candidates nor a reason why there are none.")
    return list(candidates)
