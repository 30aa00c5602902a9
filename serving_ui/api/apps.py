"""Registers the API app."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "serving_ui.api"
    label = "api"
