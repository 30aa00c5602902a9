"""Registers the endpoints app."""

from __future__ import annotations

from django.apps import AppConfig


class EndpointsConfig(AppConfig):
    name = "serving_ui.endpoints"
    label = "endpoints"
