"""Stop and start an endpoint with models of one's own, which frees its part of the cluster meanwhile."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints import commands, queries, transitions
from serving_ui.endpoints.admission import admit
from serving_ui.endpoints.errors import NothingToStop
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action
from serving_ui.endpoints.reports import reported
from serving_ui.endpoints.transitions import record_event, retry_on_concurrent_change


@retry_on_concurrent_change
def stop_endpoint(*, name: str, actor: User, now: datetime) -> Endpoint:
    """Queries are refused from now on, and the models are removed from the cluster. Raises UpdateInProgress, NothingToStop."""
    with transaction.atomic():
        endpoint = _get(name, actor)
        if endpoint.active is None or endpoint.is_stopped:
            raise NothingToStop(_("%(name)s does not run, so there is nothing to stop.") % {"name": name})
        with reported("stop_endpoint", endpoint, actor=actor):
            transitions.stop(endpoint, actor=actor, now=now)
    return endpoint


@retry_on_concurrent_change
def start_endpoint(*, name: str, actor: User, now: datetime) -> Endpoint:
    """Makes the config that was active pending again, as a new version. Raises UpdateInProgress, NothingToStop."""
    with transaction.atomic():
        endpoint = _get(name, actor)
        version = endpoint.active
        if version is None or not endpoint.is_stopped:
            raise NothingToStop(_("%(name)s is not stopped, so it cannot be started.") % {"name": name})
        earlier = list(queries.versions(endpoint=endpoint))
        admitted = admit(version.config, earlier=earlier, resubmitted=version, actor=actor, now=now)
        with reported("start_endpoint", endpoint, actor=actor):
            commands.submit_admitted(endpoint, admitted, actor=actor, now=now)
        number = endpoint.pending.number if endpoint.pending else None
        record_event(endpoint, EventKind.STARTED, now=now, actor=actor, version=number)
    return endpoint


def _get(name: str, actor: User) -> Endpoint:
    endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
    if endpoint.kind != Kind.OWN_MODEL:
        raise NothingToStop(
            _("Only an endpoint with models of your own can be stopped and started. %(name)s has none.")
            % {"name": name}
        )
    commands.refuse_while_updating(endpoint)
    return endpoint
