"""The addresses of what surrounds endpoints: secrets, permissions, tokens, people and groups."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
