"""The tasks that an external model can have, as the API spells them."""

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
