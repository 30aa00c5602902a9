"""Translates the catalogue's sentences, which it gives in English because it does not import Django."""

from __future__ import annotations

from django.utils.translation import gettext

from serving_ui.catalogue.translatable import TranslatableText


def translate(text: str) -> str:
    """The sentence in the reader's language. A plain `str` comes from the domain and is translated already."""
    return text.translated(gettext) if isinstance(text, TranslatableText) else text
