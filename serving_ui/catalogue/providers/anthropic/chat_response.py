"""Translates messages and their streams to responses and chunks in OpenAI's format.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/messages/create, …/build-with-claude/streaming and
…/handling-stop-reasons. A stream is message_start, then for each block content_block_start, …_delta and …_stop, then message_delta
and message_stop; pings come in between, and unknown types of events must be ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from serving_ui.catalogue import openai_response
from serving_ui.catalogue.providers.anthropic.chat_request import RULES
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent
from serving_ui.lib import json_text

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # incomplete: the caller may send it back to have it continued
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THINKING_TYPES = frozenset({"thinking", "redacted_thinking"})


def finish_reason(stop_reason: str | None) -> str:
    return FINISH_REASONS.get(stop_reason or "", "stop")


def translate_message(response: Json, context: RequestContext) -> Json:
    """A complete message as a `chat.completion`."""
    blocks = response["content"]
    calls = [
        openai_response.tool_call(context, RULES, block["id"], block["name"], block.get("input"))
        for block in blocks
        if block["type"] == "tool_use"
    ]
    text = joined_text(response)
    message = openai_response.message(
        text if text or not calls else None,
        tool_calls=calls,
        refusal=_refusal(response),
        reasoning_content="".join(block["thinking"] for block in blocks if block["type"] == "thinking")
        or None,
        thinking_blocks=[block for block in blocks if block["type"] in _THINKING_TYPES] or None,
    )
    choice = openai_response.choice(0, message, finish_reason(response["stop_reason"]))
    return openai_response.chat_completion(
        context, [choice], translate_usage(response["usage"]), id=response["id"], model=response["model"]
    )


def joined_text(response: Json) -> str:
    return "".join(block["text"] for block in response["content"] if block["type"] == "text")


def translate_usage(usage: Json) -> Json:
    """The usage. Tokens read from or written to the cache are included in OpenAI's input tokens, but not in Anthropic's."""
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return _usage(usage, usage["output_tokens"], thinking)


def _usage(usage: Json, completion: int | None, thinking: int | None = None) -> Json:
    cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    prompt = usage["input_tokens"] + cached + written
    return openai_response.usage(prompt, completion, cached=cached, written=written, reasoning=thinking)


def _refusal(holder: Json) -> str | None:
    details = holder.get("stop_details") or {}
    return details.get("explanation") if holder.get("stop_reason") == "refusal" else None


@dataclass
class _StreamedBlock:
    """A block that is being streamed. `position` is the index of a tool call; `start` is the block of content_block_start."""

    kind: str
    start: Json
    position: int = 0
    arguments: openai_response.ToolArgumentsStream = field(
        default_factory=openai_response.ToolArgumentsStream
    )
    thought: list[str] = field(default_factory=list)
    signature: str = ""


class MessageStream:
    """One stream of a message, as `chat.completion.chunk`s."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self.counts: Json | None = None
        self._context = context
        self._id = self._model = ""
        self._usage: Json = {}
        self._blocks: dict[int, _StreamedBlock] = {}
        self._calls = self._thoughts = 0

    def take(self, event: StreamEvent) -> list[Json]:
        data = event.data
        match data.get("type"):
            case "content_block_delta":
                return self._delta(self._blocks[data["index"]], data["delta"])
            case "content_block_start":
                return self._begin(data["index"], data["content_block"])
            case "content_block_stop":
                return self._end(self._blocks.pop(data["index"]))
            case "message_start":
                message = data["message"]
                self._id, self._model, self._usage = message["id"], message["model"], dict(message["usage"])
                self.counts = _usage(self._usage, None)  # output_tokens is not final yet
                return [self._chunk({"role": "assistant", "content": ""})]
            case "message_delta":
                return self._message_delta(data)
            case "message_stop":
                self.finished = True
                counts = translate_usage(self._usage)
                return [openai_response.usage_chunk(self._context, counts, id=self._id, model=self._model)]
        return []

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        return openai_response.chat_chunk(
            self._context, delta, finish_reason=finish, id=self._id, model=self._model
        )

    def _begin(self, index: int, start: Json) -> list[Json]:
        block = self._blocks[index] = _StreamedBlock(start["type"], start, self._calls)
        if block.kind == "text" and start.get("text"):
            return [self._chunk({"content": start["text"]})]
        if block.kind != "tool_use":
            return []
        self._calls += 1
        call = openai_response.tool_call_start(self._context, RULES, start["id"], start["name"])
        return [self._chunk({"tool_calls": [{"index": block.position, **call}]})]

    def _delta(self, block: _StreamedBlock, delta: Json) -> list[Json]:
        match delta["type"]:
            case "text_delta":
                return [self._chunk({"content": delta["text"]})]
            case "input_json_delta" if block.kind == "tool_use":
                return self._arguments(block, block.arguments.take(delta["partial_json"]))
            case "thinking_delta":
                block.thought.append(delta["thinking"])
                return [self._chunk({"reasoning_content": delta["thinking"]})]
            case "signature_delta":
                block.signature += delta["signature"]
        return []

    def _arguments(self, block: _StreamedBlock, text: str) -> list[Json]:
        piece = {"index": block.position, "function": {"arguments": text}}
        return [self._chunk({"tool_calls": [piece]})] if text else []

    def _end(self, block: _StreamedBlock) -> list[Json]:
        """The rest of a tool call's arguments, or the complete thinking block with its signature. OpenAI's client merges lists by `index`."""
        if block.kind == "tool_use":
            rest = block.arguments.rest()
            whole = json_text.write(block.start.get("input") or {}).decode()
            return self._arguments(block, rest and whole)
        if block.kind not in _THINKING_TYPES:
            return []
        thought = dict(block.start)
        if block.kind == "thinking":
            thought |= {"thinking": "".join(block.thought), "signature": block.signature}
        self._thoughts += 1
        return [self._chunk({"thinking_blocks": [{"index": self._thoughts - 1, **thought}]})]

    def _message_delta(self, data: Json) -> list[Json]:
        """Its counts are cumulative, so they replace the earlier ones."""
        counts = {name: value for name, value in (data.get("usage") or {}).items() if value is not None}
        self._usage |= counts
        if "output_tokens" in counts:
            self.counts = translate_usage(self._usage)
        stopped = data["delta"]
        if not stopped.get("stop_reason"):
            return []
        refusal = _refusal(stopped)
        return [self._chunk({"refusal": refusal} if refusal else {}, finish_reason(stopped["stop_reason"]))]
