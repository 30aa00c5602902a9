"""The tasks of external models, with their names in the API."""

from __future__ import annotations

from enum import StrEnum

from serving_ui.catalogue.translatable import TranslatableText, _


class Task(StrEnum):
    CHAT = "llm/v1/chat"
    COMPLETIONS = "llm/v1/completions"
    EMBEDDINGS = "llm/v1/embeddings"

    @property
    def label(self) -> TranslatableText:
        return _LABELS[self]


_LABELS = {Task.CHAT: _("Chat"), Task.COMPLETIONS: _("Completions"), Task.EMBEDDINGS: _("Embeddings")}
