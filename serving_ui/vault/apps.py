"""Registers the vault app."""

from __future__ import annotations

from django.apps import AppConfig


class VaultConfig(AppConfig):
    name = "serving_ui.vault"
    label = "vault"
