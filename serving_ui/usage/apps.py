"""Registers the usage app."""

from __future__ import annotations

from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "serving_ui.usage"
    label = "usage"
