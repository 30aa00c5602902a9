"""Registers the pages app, for its template tags."""

from __future__ import annotations

from django.apps import AppConfig


class PagesConfig(AppConfig):
    name = "serving_ui.pages"
    label = "pages"
