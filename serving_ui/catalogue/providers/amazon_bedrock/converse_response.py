"""Converse's answers and event streams as OpenAI-shaped ones. Pure.

Vendor facts as of November 2026, docs.aws.amazon.com: API_runtime_Converse, API_runtime_ConverseStream. A stream is messageStart, then
for each block of content contentBlockStart (tools only), contentBlockDelta and contentBlockStop, then messageStop with the reason, then
metadata with the usage; an event whose name ends with Exception ends it early. Tokens that came from or went to a prompt cache are
counted beside inputTokens and not within.
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
"""The model wrote what nobody can use. An answer that says `stop` would hide it; asking again usually helps."""

_EXTRAS = ("additionalModelResponseFields", "trace")
"""Given only when the question asked for them; passed on under their own names."""


def translate_chat(answer: Json, context: RequestContext) -> Json:
    """A whole answer as a `chat.completion`."""
    blocks = _blocks(answer)
    calls = [_tool_call(block["toolUse"], context) for block in blocks if "toolUse" in block]
    thoughts = [_thinking_block(block["reasoningContent"]) for block in blocks if "reasoningContent" in block]
    said = openai_response.message(
        _text(blocks) or (None if calls else ""),
        tool_calls=calls,
        reasoning_content="".join(thought.get("thinking", "") for thought in thoughts) or None,
        thinking_blocks=thoughts or None,
    )
    counts = _usage(answer["usage"])
    choice = openai_response.choice(0, said, _finish_reason(answer["stopReason"], counts))
    extras = {name: answer[name] for name in _EXTRAS if name in answer}
    return openai_response.chat_completion(context, [choice], counts) | extras


def translate_completion(answer: Json, context: RequestContext) -> Json:
    """A whole answer as a `text_completion`."""
    counts = _usage(answer["usage"])
    choice = (_text(_blocks(answer)), _finish_reason(answer["stopReason"], counts))
    return openai_response.text_completion(context, [choice], counts)


def _blocks(answer: Json) -> list[Json]:
    blocks: list[Json] = answer["output"]["message"]["content"]
    return blocks


def _text(blocks: list[Json]) -> str:
    """The texts, those with citations too."""
    texts: list[str] = []
    for block in blocks:
        pieces = block["citationsContent"].get("content") or [] if "citationsContent" in block else [block]
        texts += [piece["text"] for piece in pieces if "text" in piece]
    return "".join(texts)


def _tool_call(use: Json, context: RequestContext) -> Json:
    return openai_response.tool_call(context, RULES, use["toolUseId"], use["name"], use.get("input"))


def _thinking_block(content: Json) -> Json:
    """A block of reasoning as it can be sent back."""
    if "reasoningText" not in content:
        return {"type": "redacted_thinking", "data": content["redactedContent"]}
    said = content["reasoningText"]
    signed = {"signature": said["signature"]} if said.get("signature") else {}
    return {"type": "thinking", "thinking": said["text"], **signed}


def _finish_reason(given: str, counts: Json | None = None) -> str:
    """OpenAI's finish reason. Raises ProviderError."""
    if given in _FAILURES:
        raise ProviderError(f"The model's answer cannot be used ({given}).", counts=counts)
    return _FINISH_REASONS.get(given, "stop")


def _usage(told: Json) -> Json:
    read, written = told.get("cacheReadInputTokens"), told.get("cacheWriteInputTokens")
    prompt = told["inputTokens"] + (read or 0) + (written or 0)
    return openai_response.usage(prompt, told["outputTokens"], cached=read, written=written)


class _Stream(ABC):
    """What chat and completions share of a stream: the end, the usage."""

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
    """A block that is being streamed. `call` counts the tool calls and is None for what is none."""

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
        said = event.data
        match event.name:
            case "messageStart":
                return [openai_response.chat_chunk(self._context, {"role": "assistant", "content": ""})]
            case "contentBlockStart":
                return self._begin(said["contentBlockIndex"], said["start"])
            case "contentBlockDelta":  # only tools begin with an event of their own
                block = self._blocks.setdefault(said["contentBlockIndex"], _StreamedBlock())
                return self._delta(block, said["delta"])
            case "contentBlockStop":
                return self._end(self._blocks.pop(said["contentBlockIndex"], _StreamedBlock()))
            case "messageStop":
                self.finished = True
                last = openai_response.chat_chunk(
                    self._context, {}, finish_reason=_finish_reason(said["stopReason"])
                )
                return [last | {name: said[name] for name in _EXTRAS if name in said}]
            case "metadata":
                counted = openai_response.usage_chunk(self._context, _usage(said["usage"]))
                return [counted | {name: said[name] for name in _EXTRAS if name in said}]
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
        """A thought is given once more as a whole, with its signature. OpenAI's client gathers lists by `index`."""
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
        said = event.data
        match event.name:
            case "contentBlockDelta" if "text" in said["delta"]:
                return [openai_response.text_chunk(self._context, said["delta"]["text"])]
            case "messageStop":
                self.finished = True
                reason = _finish_reason(said["stopReason"])
                return [openai_response.text_chunk(self._context, "", finish_reason=reason)]
            case "metadata":
                return [
                    openai_response.usage_chunk(self._context, _usage(said["usage"]), kind="text_completion")
                ]
        return []
