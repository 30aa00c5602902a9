"""Converse's answers and event streams as OpenAI-shaped ones. Pure.

Vendor facts as of November 2026, docs.aws.amazon.com: API_runtime_Converse, API_runtime_ConverseStream. A stream is messageStart, then
for each block of content contentBlockStart (tools only), contentBlockDelta and contentBlockStop, then messageStop with the reason, then
metadata with the usage; an event whose name ends with Exception ends it early. Tokens that came from or went to a prompt cache are
counted beside inputTokens and not within.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic_core import to_json

from serving_ui.catalogue import answers
from serving_ui.catalogue.exchange import AnswerUnreadable, Asked, Event, Json, ProviderFailed

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_EXTRAS = ("additionalModelResponseFields", "trace")
"""Given only when the question asked for them; passed on under their own names."""


def reply_of_chat(answer: Json, asked: Asked) -> Json:
    """A whole answer as a `chat.completion`."""
    blocks = _blocks(answer)
    calls = [_call(block["toolUse"]) for block in blocks if isinstance(block.get("toolUse"), dict)]
    thoughts = [_thought(block["reasoningContent"]) for block in blocks if "reasoningContent" in block]
    said = answers.message(
        _text(blocks) or (None if calls else ""),
        tool_calls=calls,
        reasoning_content="".join(thought.get("thinking", "") for thought in thoughts) or None,
        thinking_blocks=thoughts or None,
    )
    choice = answers.choice(0, said, _reason(answer.get("stopReason")))
    extras = {name: answer[name] for name in _EXTRAS if name in answer}
    return answers.chat(asked, [choice], _usage(answer.get("usage"))) | extras


def reply_of_completion(answer: Json, asked: Asked) -> Json:
    """A whole answer as a `text_completion`."""
    choice = (_text(_blocks(answer)), _reason(answer.get("stopReason")))
    return answers.completion(asked, [choice], _usage(answer.get("usage")))


def _blocks(answer: Json) -> list[Json]:
    try:
        blocks = answer["output"]["message"]["content"]
    except (KeyError, TypeError):
        blocks = None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise AnswerUnreadable("it has no output.message.content")
    return blocks


def _text(blocks: list[Json]) -> str:
    """The texts, those with citations too."""
    texts: list[str] = []
    for block in blocks:
        cited = block.get("citationsContent")
        pieces = cited.get("content") if isinstance(cited, dict) else [block]
        texts += [piece["text"] for piece in pieces or () if isinstance(piece, dict) and _has_text(piece)]
    return "".join(texts)


def _has_text(piece: Json) -> bool:
    return isinstance(piece.get("text"), str)


def _call(use: Json) -> Json:
    arguments = to_json(use.get("input") or {}).decode()
    return answers.tool_call(str(use.get("toolUseId", "")), str(use.get("name", "")), arguments)


def _thought(content: Any) -> Json:
    """A block of reasoning as it can be sent back."""
    if not isinstance(content, dict):
        raise AnswerUnreadable("a reasoningContent is no object")
    said = content.get("reasoningText")
    if not isinstance(said, dict):
        return {"type": "redacted_thinking", "data": content.get("redactedContent")}
    thought = {"type": "thinking", "thinking": str(said.get("text") or "")}
    return thought | ({"signature": said["signature"]} if said.get("signature") else {})


def _reason(given: Any) -> str:
    return _REASONS.get(given, "stop") if isinstance(given, str) else "stop"


def _usage(given: Any) -> Json | None:
    if not isinstance(given, dict):
        return None
    read, written = _count(given, "cacheReadInputTokens"), _count(given, "cacheWriteInputTokens")
    prompt = _count(given, "inputTokens") + read + written
    cached = read if "cacheReadInputTokens" in given else None
    return answers.usage(prompt, _count(given, "outputTokens"), cached=cached)


def _count(given: Json, name: str) -> int:
    value = given.get(name, 0)
    return value if isinstance(value, int) else 0


class _Stream(ABC):
    """What chat and completions share of a stream: errors, the end, the usage."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.finished = False

    def take(self, event: Event) -> list[Json]:
        """The chunks that follow from this event."""
        if event.name.endswith("Exception") or event.name == "error":
            said = event.data.get("originalMessage") or event.data.get("message")
            raise ProviderFailed(str(said or event.name))
        try:
            return self._chunks(event)
        except (KeyError, TypeError, AttributeError) as problem:
            raise AnswerUnreadable(
                f"the event {event.name} has not the shape that it should have"
            ) from problem

    @abstractmethod
    def _chunks(self, event: Event) -> list[Json]: ...


class ChatStream(_Stream):
    """A stream as `chat.completion.chunk`s."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._calls: dict[int, int] = {}  # the block's index -> the call's
        self._silent: set[int] = set()  # calls whose arguments have not begun
        self._thought: list[str] = []

    def _chunks(self, event: Event) -> list[Json]:
        said = event.data
        match event.name:
            case "messageStart":
                return [answers.chunk(self._asked, {"role": "assistant", "content": ""})]
            case "contentBlockStart":
                return self._began(said["contentBlockIndex"], said["start"].get("toolUse"))
            case "contentBlockDelta":
                return self._delta(said["contentBlockIndex"], said["delta"])
            case "contentBlockStop":
                return self._ended(said["contentBlockIndex"])
            case "messageStop":
                self.finished = True
                last = answers.chunk(self._asked, {}, finish_reason=_reason(said["stopReason"]))
                return [last | {name: said[name] for name in _EXTRAS if name in said}]
            case "metadata":
                counts = _usage(said["usage"])
                return [] if counts is None else [answers.usage_chunk(self._asked, counts)]
        return []

    def _began(self, block: int, use: Json | None) -> list[Json]:
        if use is None:
            return []
        index = self._calls[block] = len(self._calls)
        self._silent.add(block)
        call = answers.tool_call(str(use["toolUseId"]), str(use["name"]), "")
        return [answers.chunk(self._asked, {"tool_calls": [{"index": index, **call}]})]

    def _delta(self, block: int, delta: Json) -> list[Json]:
        if isinstance(delta.get("text"), str):
            return [answers.chunk(self._asked, {"content": delta["text"]})]
        if "toolUse" in delta:
            return self._arguments(block, str(delta["toolUse"]["input"]))
        if "reasoningContent" in delta:
            return self._thinking(delta["reasoningContent"])
        return []

    def _arguments(self, block: int, text: str) -> list[Json]:
        if not text:
            return []
        self._silent.discard(block)
        piece = {"index": self._calls[block], "function": {"arguments": text}}
        return [answers.chunk(self._asked, {"tool_calls": [piece]})]

    def _thinking(self, thought: Json) -> list[Json]:
        """Text as it comes; what must be sent back is whole only when its signature has come."""
        if isinstance(thought.get("text"), str):
            self._thought.append(thought["text"])
            return [answers.chunk(self._asked, {"reasoning_content": thought["text"]})]
        if "signature" in thought:
            said, self._thought = "".join(self._thought), []
            block = {"type": "thinking", "thinking": said, "signature": thought["signature"]}
        else:
            block = {"type": "redacted_thinking", "data": thought.get("redactedContent")}
        return [answers.chunk(self._asked, {"thinking_blocks": [block]})]

    def _ended(self, block: int) -> list[Json]:
        """A tool without arguments gets an empty object, because clients parse what they get."""
        return self._arguments(block, "{}") if block in self._silent else []


class CompletionStream(_Stream):
    """A stream as `text_completion` chunks."""

    def _chunks(self, event: Event) -> list[Json]:
        said = event.data
        match event.name:
            case "contentBlockDelta" if isinstance(said["delta"].get("text"), str):
                return [answers.text_chunk(self._asked, said["delta"]["text"])]
            case "messageStop":
                self.finished = True
                reason = _reason(said["stopReason"])
                return [answers.text_chunk(self._asked, "", finish_reason=reason)]
            case "metadata":
                counts = _usage(said["usage"])
                if counts is not None:
                    return [answers.usage_chunk(self._asked, counts, kind="text_completion")]
        return []
