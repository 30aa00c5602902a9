"""The state of an endpoint as commands report it, before and after: see `lib.changes`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving_ui.accounts.models import User
from serving_ui.endpoints import bindings
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib.changes import State, report_change


def report_endpoint(
    action: str, endpoint: Endpoint, *, actor: User | None, before: State | None, after: State | None
) -> None:
    report_change(
        action,
        kind="endpoint",
        id=endpoint.pk,
        name=endpoint.name,
        actor=actor,
        before=before,
        after=after,
    )


@contextmanager
def reported(action: str, endpoint: Endpoint, *, actor: User) -> Iterator[None]:
    """Reports what the block changes in the columns of the endpoint, if it changes any."""
    generation, before = endpoint.generation, state_of(endpoint)
    yield
    if endpoint.generation != generation:
        report_endpoint(action, endpoint, actor=actor, before=before, after=state_of(endpoint))


def state_of(endpoint: Endpoint) -> dict[str, Any]:
    """Everything that its columns say. Pasted secrets are left out: that one was replaced shows in the version's number."""
    return {
        "name": endpoint.name,
        "description": endpoint.description,
        "tags": endpoint.tags,
        **{name: getattr(endpoint, name) for name in Endpoint.SETTINGS},
        "ready": str(endpoint.ready),
        "config_update": str(endpoint.config_update),
        "active_config": _config(endpoint.active),
        "pending_config": _config(endpoint.pending),
    }


def _config(version: ConfigVersion | None) -> dict[str, Any] | None:
    return {"version": version.number, **version.config.public()} if version else None


def permissions_of(endpoint: Endpoint) -> dict[str, str]:
    """The granted levels by the name of the principal or group. One query."""
    found = endpoint.grants.select_related("user", "group")
    return {str(grant.user or grant.group): Level(grant.level).name for grant in found}


def authorisers_of(endpoint: Endpoint) -> dict[str, str]:
    """On whose right the secrets of the active and pending config are sent, by place in the config. One query."""
    rows = bindings.of_versions(pk for pk in (endpoint.active_id, endpoint.pending_id) if pk)
    return {f"{row.version_id}/{row.place}": row.person for row in rows}
