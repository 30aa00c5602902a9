"""Translates responses and event streams of Converse to OpenAI's format. No I/O.

Vendor facts as of November 2026, docs.aws.amazon.com: API_runtime_Converse, API_runtime_ConverseStream. A stream is messageStart, then
for each block of content contentBlockStart (tools only), contentBlockDelta and contentBlockStop, then messageStop with the reason, then
metadata with the usage; an event whose name ends with Exception ends it early. inputTokens does not
include tokens read from or written to a prompt cache.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from serving_ui.catalogue import openai_response
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.providers.amazon_bedrock.converse_request import RULES
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_FAILURES = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stop reasons of unusable output. They are errors and not `stop`, because a retry usually succeeds."""

_EXTRAS = ("additionalModelResponseFields", "trace")
"""Fields that the response has only if the request asked for them. They are passed on unchanged."""


def translate_chat(response: Json, context: RequestContext) -> Json:
    """A complete response as a `chat.completion`."""
    blocks = _blocks(response)
    calls = [_tool_call(block["toolUse"], context) for block in blocks if "toolUse" in block]
    thoughts = [_thinking_block(block["reasoningContent"]) for block in blocks if "reasoningContent" in block]
    message = openai_response.message(
        _text(blocks) or (None if calls else ""),
        tool_calls=calls,
        reasoning_content="".join(thought.get("thinking", "") for thought in thoughts) or None,
        thinking_blocks=thoughts or None,
    )
    counts = _usage(response["usage"])
    choice = openai_response.choice(0, message, _finish_reason(response["stopReason"], counts))
    extras = {name: response[name] for name in _EXTRAS if name in response}
    return openai_response.chat_completion(context, [choice], counts) | extras


def translate_completion(response: Json, context: RequestContext) -> Json:
    """A complete response as a `text_completion`."""
    counts = _usage(response["usage"])
    choice = (_text(_blocks(response)), _finish_reason(response["stopReason"], counts))
    return openai_response.text_completion(context, [choice], counts)


def _blocks(response: Json) -> list[Json]:
    blocks: list[Json] = response["output"]["message"]["content"]
    return blocks


def _text(blocks: list[Json]) -> str:
    """The text of all blocks, including those with citations."""
    texts: list[str] = []
    for block in blocks:
        pieces = block["citationsContent"].get("content") or [] if "citationsContent" in block else [block]
        texts += [piece["text"] for piece in pieces if "text" in piece]
    return "".join(texts)


def _tool_call(use: Json, context: RequestContext) -> Json:
    return openai_response.tool_call(context, RULES, use["toolUseId"], use["name"], use.get("input"))


def _thinking_block(content: Json) -> Json:
    """A thinking block in the format that requests accept."""
    if "reasoningText" not in content:
        return {"type": "redacted_thinking", "data": content["redactedContent"]}
    reasoning = content["reasoningText"]
    signature = {"signature": reasoning["signature"]} if reasoning.get("signature") else {}
    return {"type": "thinking", "thinking": reasoning["text"], **signature}


def _finish_reason(stop_reason: str, counts: Json | None = None) -> str:
    """OpenAI's finish reason. Raises ProviderError."""
    if stop_reason in _FAILURES:
        raise ProviderError(f"The model's answer cannot be used ({stop_reason}).", counts=counts)
    return _FINISH_REASONS.get(stop_reason, "stop")


def _usage(usage: Json) -> Json:
    read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    prompt = usage["inputTokens"] + (read or 0) + (written or 0)
    return openai_response.usage(prompt, usage["outputTokens"], cached=read, written=written)


class _Stream(ABC):
    """The common part of chat and completion streams: end and usage."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self.finished = False
        self.counts: Json | None = None

    def take(self, event: StreamEvent) -> list[Json]:
        """The chunks that follow from this event."""
        if event.name == "metadata":
            self.counts = _usage(event.data["usage"])
        return self._chunks(event)

    @abstractmethod
    def _chunks(self, event: StreamEvent) -> list[Json]: ...


@dataclass
class _StreamedBlock:
    """A block that is being streamed. `call` is the index of a tool call, None for other blocks."""

    call: int | None = None
    arguments: openai_response.ToolArgumentsStream = field(
        default_factory=openai_response.ToolArgumentsStream
    )
    thought: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""


class ChatStream(_Stream):
    """A stream as `chat.completion.chunk`s."""

    def __init__(self, context: RequestContext) -> None:
        super().__init__(context)
        self._calls = self._thoughts = 0
        self._blocks: dict[int, _StreamedBlock] = {}

    def _chunks(self, event: StreamEvent) -> list[Json]:
        data = event.data
        match event.name:
            case "messageStart":
                return [openai_response.chat_chunk(self._context, {"role": "assistant", "content": ""})]
            case "contentBlockStart":
                return self._begin(data["contentBlockIndex"], data["start"])
            case "contentBlockDelta":  # only tool calls have a contentBlockStart
                block = self._blocks.setdefault(data["contentBlockIndex"], _StreamedBlock())
                return self._delta(block, data["delta"])
            case "contentBlockStop":
                return self._end(self._blocks.pop(data["contentBlockIndex"], _StreamedBlock()))
            case "messageStop":
                self.finished = True
                last = openai_response.chat_chunk(
                    self._context, {}, finish_reason=_finish_reason(data["stopReason"])
                )
                return [last | {name: data[name] for name in _EXTRAS if name in data}]
            case "metadata":
                counted = openai_response.usage_chunk(self._context, _usage(data["usage"]))
                return [counted | {name: data[name] for name in _EXTRAS if name in data}]
        return []

    def _begin(self, index: int, start: Json) -> list[Json]:
        block = self._blocks[index] = _StreamedBlock()
        if "toolUse" not in start:
            return []
        block.call = self._calls
        self._calls += 1
        call = openai_response.tool_call_start(
            self._context, RULES, start["toolUse"]["toolUseId"], start["toolUse"]["name"]
        )
        return [openai_response.chat_chunk(self._context, {"tool_calls": [{"index": block.call, **call}]})]

    def _delta(self, block: _StreamedBlock, delta: Json) -> list[Json]:
        if "text" in delta:
            return [openai_response.chat_chunk(self._context, {"content": delta["text"]})]
        if "toolUse" in delta:
            return self._arguments(block, block.arguments.take(delta["toolUse"]["input"]))
        thought = delta.get("reasoningContent") or {}
        block.signature += thought.get("signature") or ""
        block.redacted += thought.get("redactedContent") or ""
        if thought.get("text"):
            block.thought.append(thought["text"])
            return [openai_response.chat_chunk(self._context, {"reasoning_content": thought["text"]})]
        return []

    def _arguments(self, block: _StreamedBlock, text: str) -> list[Json]:
        piece = {"index": block.call, "function": {"arguments": text}}
        return [openai_response.chat_chunk(self._context, {"tool_calls": [piece]})] if text else []

    def _end(self, block: _StreamedBlock) -> list[Json]:
        """The rest of a tool call's arguments, or the complete thinking block with its signature. OpenAI's client merges lists by `index`."""
        if block.call is not None:
            return self._arguments(block, block.arguments.rest())
        thoughts: list[Json] = []
        if block.thought or block.signature:
            signed = {"signature": block.signature} if block.signature else {}
            thoughts.append({"type": "thinking", "thinking": "".join(block.thought), **signed})
        if block.redacted:
            thoughts.append({"type": "redacted_thinking", "data": block.redacted})
        numbered = [{"index": self._thoughts + index, **thought} for index, thought in enumerate(thoughts)]
        self._thoughts += len(thoughts)
        return [openai_response.chat_chunk(self._context, {"thinking_blocks": numbered})] if thoughts else []


class CompletionStream(_Stream):
    """A stream as `text_completion` chunks."""

    def _chunks(self, event: StreamEvent) -> list[Json]:
        data = event.data
        match event.name:
            case "contentBlockDelta" if "text" in data["delta"]:
                return [openai_response.text_chunk(self._context, data["delta"]["text"])]
            case "messageStop":
                self.finished = True
                reason = _finish_reason(data["stopReason"])
                return [openai_response.text_chunk(self._context, "", finish_reason=reason)]
            case "metadata":
                return [
                    openai_response.usage_chunk(self._context, _usage(data["usage"]), kind="text_completion")
                ]
        return []
