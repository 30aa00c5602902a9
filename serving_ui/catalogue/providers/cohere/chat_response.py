"""Translates Cohere's messages and their streams to responses and chunks in OpenAI's format.

Vendor facts as of November 2026, docs.cohere.com/reference/chat and …/chat-stream. Fields that OpenAI does not have keep Cohere's name:
`tool_plan` (the reasons for tool calls) and `citations`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from serving_ui.catalogue import openai_response
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.providers.cohere.chat_request import RULES
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

FINISH_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}
_FAILURES = {"ERROR": ("it failed while generating", 500), "TIMEOUT": ("it ran out of time", 504)}


def finish_reason(reason: str | None, error: str | None = None, *, counts: Json | None = None) -> str:
    """OpenAI's finish reason. Raises ProviderError with the counts for reasons that mean an error."""
    if reason in _FAILURES:
        why, status = _FAILURES[reason]
        raise ProviderError(f"{error or why} ({reason})", status=status, counts=counts)
    return FINISH_REASONS.get(reason or "", "stop")


def translate_message(response: Json, context: RequestContext) -> Json:
    """A complete message as a `chat.completion`."""
    message = response["message"]
    calls = [
        openai_response.tool_call(
            context, RULES, call["id"], call["function"]["name"], call["function"].get("arguments")
        )
        for call in message.get("tool_calls") or ()
    ]
    text = joined_text(response)
    assistant = openai_response.message(
        text if text or not calls else None,
        tool_calls=calls,
        reasoning_content=_joined(message, "thinking") or None,
        tool_plan=message.get("tool_plan") or None,
        citations=message.get("citations") or None,
    )
    logprobs = [logprob(each) for each in response.get("logprobs") or ()]
    counts = translate_usage(response.get("usage"))
    reason = finish_reason(response["finish_reason"], counts=counts)
    choice = openai_response.choice(
        0, assistant, reason, logprobs=openai_response.logprobs(logprobs) if logprobs else None
    )
    return openai_response.chat_completion(context, [choice], counts, id=response["id"])


def joined_text(response: Json) -> str:
    return _joined(response["message"], "text")


def logprob(entry: Json) -> Json:
    """The log probability of one piece of text: the sum over its tokens."""
    return openai_response.logprob(entry.get("text") or "", sum(entry["logprobs"]))


def _joined(message: Json, kind: str) -> str:
    return "".join(part[kind] for part in message.get("content") or () if part["type"] == kind)


def translate_usage(usage: Json | None) -> Json | None:
    """The usage from `tokens`, or from `billed_units` if there are no `tokens`."""
    counts = (usage or {}).get("tokens") or (usage or {}).get("billed_units")
    if not usage or not counts:
        return None
    cached = usage.get("cached_tokens")
    prompt, completion = int(counts["input_tokens"]), int(counts["output_tokens"])
    return openai_response.usage(prompt, completion, cached=None if cached is None else int(cached))


@dataclass
class _StreamedCall:
    """A call that is being streamed."""

    position: int
    arguments: openai_response.ToolArgumentsStream = field(
        default_factory=openai_response.ToolArgumentsStream
    )


class MessageStream:
    """One stream of a message, as `chat.completion.chunk`s."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self.counts: Json | None = None
        self._context = context
        self._id = ""
        self._calls: dict[int, _StreamedCall] = {}
        self._citations = 0

    def take(self, event: StreamEvent) -> list[Json]:
        data = event.data
        match data.get("type"):
            case "content-start" | "content-delta":
                return self._content(data["delta"]["message"]["content"], data.get("logprobs"))
            case "message-start":
                self._id = data["id"]
                return [self._chunk({"role": "assistant", "content": ""})]
            case "tool-plan-delta":
                return [self._chunk({"tool_plan": data["delta"]["message"]["tool_plan"]})]
            case "tool-call-start":
                return self._begin(data["index"], data["delta"]["message"]["tool_calls"])
            case "tool-call-delta":
                call = self._calls[data["index"]]
                piece = data["delta"]["message"]["tool_calls"]["function"]["arguments"]
                return self._arguments(call, call.arguments.take(piece))
            case "tool-call-end":
                call = self._calls[data["index"]]
                return self._arguments(call, call.arguments.rest())
            case "citation-start":
                return [self._citation(data["delta"]["message"]["citations"])]
            case "message-end":
                return self._end(data["delta"])
        return []

    def _chunk(self, delta: Json, finish: str | None = None, *, logprobs: Json | None = None) -> Json:
        return openai_response.chat_chunk(
            self._context, delta, finish_reason=finish, logprobs=logprobs, id=self._id
        )

    def _content(self, content: Json, logprob_entry: Json | None) -> list[Json]:
        if content.get("text"):
            logprobs = openai_response.logprobs([logprob(logprob_entry)]) if logprob_entry else None
            return [self._chunk({"content": content["text"]}, logprobs=logprobs)]
        if content.get("thinking"):
            return [self._chunk({"reasoning_content": content["thinking"]})]
        return []

    def _citation(self, citation: Json) -> Json:
        """One citation, with an `index`, by which OpenAI's client merges lists."""
        self._citations += 1
        return self._chunk({"citations": [{"index": self._citations - 1, **citation}]})

    def _begin(self, index: int, started: Json) -> list[Json]:
        call = self._calls[index] = _StreamedCall(len(self._calls))
        begun = openai_response.tool_call_start(
            self._context, RULES, started["id"], started["function"]["name"]
        )
        first = self._chunk({"tool_calls": [{"index": call.position, **begun}]})
        return [first, *self._arguments(call, call.arguments.take(started["function"].get("arguments")))]

    def _arguments(self, call: _StreamedCall, text: str) -> list[Json]:
        piece = {"index": call.position, "function": {"arguments": text}}
        return [self._chunk({"tool_calls": [piece]})] if text else []

    def _end(self, delta: Json) -> list[Json]:
        self.counts = translate_usage(delta.get("usage"))
        reason = finish_reason(delta["finish_reason"], delta.get("error"))
        self.finished = True
        rests = [self._arguments(call, call.arguments.rest()) for call in self._calls.values()]
        chunks = [*chain.from_iterable(rests), self._chunk({}, reason)]
        if self.counts is not None:
            chunks.append(openai_response.usage_chunk(self._context, self.counts, id=self._id))
        return chunks
