"""Translates the stream of generateContent to chunks in OpenAI's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.providers.google_cloud_vertex_ai import gemini_response
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_response import (
    CandidateContent,
    ResponseIds,
)
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent


@dataclass
class _ChoiceState:
    """The state of one candidate in a stream."""

    begun: bool = False
    calls: int = 0
    images: int = 0
    ended: bool = False


class _Stream(ABC):
    """The common part of both tasks: finished candidates, and token counts, which come with the last event or after it."""

    kind: str

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self.counts: Json | None = None
        self._context = context
        self._choices: dict[int, _ChoiceState] = {}
        self._usage_sent = False
        self._choice_count = openai_request.merge_extra_params(context.body).get("n") or 1

    def take(self, event: StreamEvent) -> list[Json]:
        counts = gemini_response.translate_usage(event.data)
        self.counts = counts or self.counts
        ids = gemini_response.response_ids(event.data)
        chunks: list[Json] = []
        refusal = gemini_response.block_reason(event.data)
        if refusal and not event.data.get("candidates"):
            chunks += self._blocked(refusal, ids)
        for position, candidate in enumerate(event.data.get("candidates") or ()):
            chunks += self._candidate(candidate, candidate.get("index", position), ids)
        self.finished = bool(self._choices) and all(each.ended for each in self._choices.values())
        if self.finished and len(self._choices) >= self._choice_count and counts and not self._usage_sent:
            self._usage_sent = True
            chunks.append(openai_response.usage_chunk(self._context, counts, kind=self.kind, **ids))
        return chunks

    def _candidate(self, candidate: Mapping[str, Any], index: int, ids: ResponseIds) -> list[Json]:
        state = self._choices.setdefault(index, _ChoiceState())
        if state.ended:
            return []
        response_id = ids["id"] or self._context.id
        content = gemini_response.candidate_content(
            candidate, self._context, response_id, index=index, calls_before=state.calls
        )
        chunks = self._content_chunks(content, candidate, index, state, ids)
        state.begun = True
        state.calls += len(content.calls)
        state.images += len(content.images)
        reason = gemini_response.finish_reason(candidate, called=state.calls > 0)
        if reason is not None:
            state.ended = True
            chunks.append(self._end(index, reason, ids))
        return chunks

    @abstractmethod
    def _content_chunks(
        self,
        content: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        ids: ResponseIds,
    ) -> list[Json]:
        """The chunks of a partial candidate, without its end."""

    @abstractmethod
    def _end(self, index: int, reason: str, ids: ResponseIds) -> Json:
        """The chunk with the finish reason."""

    def _blocked(self, refusal: str, ids: ResponseIds) -> list[Json]:
        self._choices[0] = _ChoiceState(begun=True, ended=True)
        return [self._end(0, "content_filter", ids)]


class ChatStream(_Stream):
    """Chunks of a chat. The first chunk of each choice has the role."""

    kind = "chat.completion.chunk"

    def _content_chunks(
        self,
        content: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        ids: ResponseIds,
    ) -> list[Json]:
        first: list[Json] = [] if state.begun else [{"role": "assistant", "content": ""}]
        deltas = first + _deltas(content, state)
        logprobs = gemini_response.logprobs(candidate)
        if logprobs and len(deltas) == len(first):
            deltas.append({})
        chunks = [openai_response.chat_chunk(self._context, delta, index=index, **ids) for delta in deltas]
        if logprobs:
            chunks[-1]["choices"][0]["logprobs"] = logprobs
        return chunks

    def _end(self, index: int, reason: str, ids: ResponseIds) -> Json:
        return openai_response.chat_chunk(self._context, {}, index=index, finish_reason=reason, **ids)

    def _blocked(self, refusal: str, ids: ResponseIds) -> list[Json]:
        role = {"role": "assistant", "content": None, "refusal": refusal}
        return [openai_response.chat_chunk(self._context, role, **ids), *super()._blocked(refusal, ids)]


class CompletionStream(_Stream):
    """Chunks of a completion."""

    kind = "text_completion"

    def _content_chunks(
        self,
        content: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        ids: ResponseIds,
    ) -> list[Json]:
        return (
            [openai_response.text_chunk(self._context, content.text, index=index, **ids)]
            if content.text
            else []
        )

    def _end(self, index: int, reason: str, ids: ResponseIds) -> Json:
        return openai_response.text_chunk(self._context, "", index=index, finish_reason=reason, **ids)


def _deltas(content: CandidateContent, state: _ChoiceState) -> list[Json]:
    """The deltas of the content. Entries of lists have an `index`, by which OpenAI's client merges them."""
    deltas: list[Json] = []
    if content.thoughts:
        deltas.append({"reasoning_content": content.thoughts})
    if content.text:
        deltas.append({"content": content.text})
    if content.images:
        images = enumerate(content.images, start=state.images)
        deltas.append({"images": [{"index": order, **image} for order, image in images]})
    for order, call in enumerate(content.calls, start=state.calls):
        deltas.append({"tool_calls": [{"index": order, **call}]})
    return deltas
