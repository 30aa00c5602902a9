"""The addresses of serving endpoints."""

from __future__ import annotations

from serving_ui.api.http import route
from serving_ui.api.views import endpoints, governance, observation

ALL = "serving-endpoints"
ONE = f"{ALL}/<str:name>"
ENTITY = f"{ONE}/served-models/<str:entity>"

urlpatterns = [
    *route(ALL, GET=endpoints.listing, POST=endpoints.create),
    # `pt` is a word of the API, which no endpoint can have as its name.
    *route(f"{ALL}/pt", POST=endpoints.create_provisioned),
    *route(f"{ALL}/pt/<str:name>/config", PUT=endpoints.update_provisioned),
    *route(ONE, GET=endpoints.get, DELETE=endpoints.delete),
    *route(f"{ONE}/config", PUT=endpoints.update_config),
    *route(f"{ONE}/config:cancel", POST=endpoints.cancel_update),
    *route(f"{ONE}/config:take-over", POST=endpoints.take_over),
    *route(f"{ONE}/tags", PATCH=governance.change_tags),
    *route(f"{ONE}/rate-limits", PUT=governance.set_rate_limits),
    *route(f"{ONE}/ai-gateway", PUT=governance.set_ai_gateway),
    *route(f"{ONE}/timeouts", PUT=governance.set_timeouts),
    *route(f"{ONE}/notifications", PATCH=governance.set_notifications),
    *route(f"{ONE}/telemetry-config", PATCH=governance.set_telemetry),
    *route(f"{ONE}/metrics", GET=observation.metrics),
    *route(f"{ONE}/events", GET=observation.events),
    *route(f"{ONE}/config-versions", GET=observation.config_versions),
    *route(f"{ENTITY}/logs", GET=observation.logs),
    *route(f"{ENTITY}/build-logs", GET=observation.build_logs),
]
