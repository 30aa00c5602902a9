"""Says the catalogue's sentences in the reader's language: they travel in English with their parts."""

from __future__ import annotations

from django.utils.translation import gettext

from serving_ui.catalogue.translatable import TranslatableText


def said(text: str) -> str:
    """The sentence, translated if it is the catalogue's; the domain's are translated already."""
    return text.translated(gettext) if isinstance(text, TranslatableText) else text
