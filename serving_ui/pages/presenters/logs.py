"""The tab Logs of an endpoint with models of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from serving_ui.endpoints import cluster_logs
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib.refusal import Refusal

MAX_LINES = 500
SERVICE, BUILD = "service", "build"


@dataclass(frozen=True)
class Choice:
    """A link that shows other logs."""

    key: str
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Logs:
    """The last lines, or why they cannot be read. `here` is the address of this fragment, `page` that of the page with it."""

    here: str
    page: str
    text: str
    problem: str
    choices: list[Choice]
    entities: list[Choice]
    """Empty if there is one only."""


def logs_of(endpoint: Endpoint, wanted: Mapping[str, str]) -> Logs:
    """The logs that a query string names: `entity` and `logs` (service or build); by default of the first entity, of its service."""
    version = endpoint.pending or endpoint.latest or endpoint.active
    names = [entity.name for entity in version.config.served_entities] if version else []
    entity = wanted.get("entity", "")
    entity = entity if entity in names else (names[0] if names else "")
    kind = BUILD if wanted.get("logs") == BUILD else SERVICE
    page, fragment = (reverse(each, args=[endpoint.name]) for each in ("endpoint-detail", "endpoint-logs"))

    def address(at: str, name: str, which: str) -> str:
        return f"{at}?{urlencode({'tab': 'logs', 'entity': name, 'logs': which})}"

    text, problem = "", ""
    try:
        read = cluster_logs.build_logs if kind == BUILD else cluster_logs.service_logs
        text = read(endpoint, entity) if entity else ""
    except Refusal as refusal:
        problem = str(refusal)
    kinds = {SERVICE: _("Service"), BUILD: _("Build")}
    return Logs(
        here=address(fragment, entity, kind),
        page=address(page, entity, kind),
        text="\n".join(text.splitlines()[-MAX_LINES:]),
        problem=problem,
        choices=[Choice(key, word, address(page, entity, key), key == kind) for key, word in kinds.items()],
        entities=[Choice(name, name, address(page, name, kind), name == entity) for name in names]
        if len(names) > 1
        else [],
    )
