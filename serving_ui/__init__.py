"""Serving UI: a self-hosted page for model-serving endpoints, with the engine behind it."""

from __future__ import annotations

__version__ = "0.1.0"
