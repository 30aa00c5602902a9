"""The stream of generateContent as OpenAI's chunks."""

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
    """How far one candidate is."""

    begun: bool = False
    calls: int = 0
    images: int = 0
    ended: bool = False


class _Stream(ABC):
    """What both tasks share: who has ended, and the token counts, which may come with the last event or after it."""

    kind: str

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self.counts: Json | None = None
        self._context = context
        self._choices: dict[int, _ChoiceState] = {}
        self._counted = False
        self._wanted = openai_request.merge_extra_params(context.body).get("n") or 1

    def take(self, event: StreamEvent) -> list[Json]:
        counts = gemini_response.translate_usage(event.data)
        self.counts = counts or self.counts
        head = gemini_response.response_ids(event.data)
        chunks: list[Json] = []
        why = gemini_response.block_reason(event.data)
        if why and not event.data.get("candidates"):
            chunks += self._blocked(why, head)
        for position, candidate in enumerate(event.data.get("candidates") or ()):
            chunks += self._candidate(candidate, candidate.get("index", position), head)
        self.finished = bool(self._choices) and all(each.ended for each in self._choices.values())
        if self.finished and len(self._choices) >= self._wanted and counts and not self._counted:
            self._counted = True
            chunks.append(openai_response.usage_chunk(self._context, counts, kind=self.kind, **head))
        return chunks

    def _candidate(self, candidate: Mapping[str, Any], index: int, head: ResponseIds) -> list[Json]:
        state = self._choices.setdefault(index, _ChoiceState())
        if state.ended:
            return []
        answer_id = head["id"] or self._context.id
        said = gemini_response.candidate_content(
            candidate, self._context, answer_id, index=index, calls_before=state.calls
        )
        chunks = self._said(said, candidate, index, state, head)
        state.begun = True
        state.calls += len(said.calls)
        state.images += len(said.images)
        reason = gemini_response.finish_reason(candidate, called=state.calls > 0)
        if reason is not None:
            state.ended = True
            chunks.append(self._end(index, reason, head))
        return chunks

    @abstractmethod
    def _said(
        self,
        said: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        head: ResponseIds,
    ) -> list[Json]:
        """Chunks of what a part of a candidate says."""

    @abstractmethod
    def _end(self, index: int, reason: str, head: ResponseIds) -> Json:
        """The chunk with the finish reason."""

    def _blocked(self, why: str, head: ResponseIds) -> list[Json]:
        self._choices[0] = _ChoiceState(begun=True, ended=True)
        return [self._end(0, "content_filter", head)]


class ChatStream(_Stream):
    """Chunks of a chat. The first of each choice has the role."""

    kind = "chat.completion.chunk"

    def _said(
        self,
        said: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        head: ResponseIds,
    ) -> list[Json]:
        first: list[Json] = [] if state.begun else [{"role": "assistant", "content": ""}]
        deltas = first + _deltas(said, state)
        told = gemini_response.logprobs(candidate)
        if told and len(deltas) == len(first):
            deltas.append({})
        chunks = [openai_response.chat_chunk(self._context, delta, index=index, **head) for delta in deltas]
        if told:
            chunks[-1]["choices"][0]["logprobs"] = told
        return chunks

    def _end(self, index: int, reason: str, head: ResponseIds) -> Json:
        return openai_response.chat_chunk(self._context, {}, index=index, finish_reason=reason, **head)

    def _blocked(self, why: str, head: ResponseIds) -> list[Json]:
        role = {"role": "assistant", "content": None, "refusal": why}
        return [openai_response.chat_chunk(self._context, role, **head), *super()._blocked(why, head)]


class CompletionStream(_Stream):
    """Chunks of a completion."""

    kind = "text_completion"

    def _said(
        self,
        said: CandidateContent,
        candidate: Mapping[str, Any],
        index: int,
        state: _ChoiceState,
        head: ResponseIds,
    ) -> list[Json]:
        return (
            [openai_response.text_chunk(self._context, said.text, index=index, **head)] if said.text else []
        )

    def _end(self, index: int, reason: str, head: ResponseIds) -> Json:
        return openai_response.text_chunk(self._context, "", index=index, finish_reason=reason, **head)


def _deltas(said: CandidateContent, state: _ChoiceState) -> list[Json]:
    """OpenAI's client gathers lists by `index`."""
    deltas: list[Json] = []
    if said.thoughts:
        deltas.append({"reasoning_content": said.thoughts})
    if said.text:
        deltas.append({"content": said.text})
    if said.images:
        images = enumerate(said.images, start=state.images)
        deltas.append({"images": [{"index": order, **image} for order, image in images]})
    for order, call in enumerate(said.calls, start=state.calls):
        deltas.append({"tool_calls": [{"index": order, **call}]})
    return deltas
