"""Registers the app of model hosts."""

from __future__ import annotations

from django.apps import AppConfig


class ModelHostsConfig(AppConfig):
    name = "serving_ui.model_hosts"
    label = "model_hosts"
