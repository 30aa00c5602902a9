"""Registers the app of registered models."""

from __future__ import annotations

from django.apps import AppConfig


class RegisteredModelsConfig(AppConfig):
    name = "serving_ui.registered_models"
    label = "registered_models"
