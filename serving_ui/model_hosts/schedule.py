"""Name and interval of the Celery task that checks model hosts. Imports no models, because beat needs it before Django's apps are loaded."""

from __future__ import annotations

CHECK, CHECK_SECONDS = "serving_ui.check_model_hosts", 5.0
"""How often the task looks for hosts that are due; a host is due every `discovery.EVERY`."""
