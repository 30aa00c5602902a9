"""Names and intervals of the Celery tasks for usage. Imports no models, because beat needs it before Django's apps are loaded."""

from __future__ import annotations

INGEST, INGEST_SECONDS = "serving_ui.ingest_usage", 2.0
EXPORT, EXPORT_SECONDS = "serving_ui.export_traces", 5.0
DELETE_EXPIRED, DELETE_EXPIRED_SECONDS = "serving_ui.forget_usage", 3600.0
