"""Registers the revisions app."""

from __future__ import annotations

from django.apps import AppConfig


class RevisionsConfig(AppConfig):
    name = "serving_ui.revisions"
    label = "revisions"
