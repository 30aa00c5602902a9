"""What the worker does for usage, by task name, and how often; known to beat and the tasks, before there are models."""

from __future__ import annotations

INGEST, INGEST_SECONDS = "serving_ui.ingest_usage", 2.0
EXPORT, EXPORT_SECONDS = "serving_ui.export_traces", 5.0
FORGET, FORGET_SECONDS = "serving_ui.forget_usage", 3600.0
