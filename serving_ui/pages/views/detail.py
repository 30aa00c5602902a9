"""An endpoint's page, and the fragment that it polls while an update runs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET
from django_htmx.http import trigger_client_event

from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints import queries
from serving_ui.endpoints.lifecycle import Update
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.lib.address import public_url
from serving_ui.model_hosts.queries import model_of
from serving_ui.pages.http import PageRequest, fragment, get_endpoint
from serving_ui.pages.paging import list_page
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import detail, state
from serving_ui.pages.presenters.listing import task_label
from serving_ui.pages.presenters.logs import logs_of
from serving_ui.revisions import gateways

TABS = ("events", "versions", "logs", "permissions")
ROWS = 50  # of a page of events or versions
LEVELS = (Level.CAN_VIEW, Level.CAN_QUERY, Level.CAN_MANAGE)


@signed_in
@require_GET
def endpoint_detail(request: PageRequest, name: str) -> HttpResponse:
    """The whole page, with the tab and the config that the address names."""
    return detail_page(request, get_endpoint(request, name))


@signed_in
@require_GET
def endpoint_state(request: PageRequest, name: str) -> HttpResponse:
    """State and configs; 204 while nothing changed. After the update the fragment has no trigger, which ends the polling."""
    endpoint = get_endpoint(request, name)
    if request.GET.get("v") == detail.state_fingerprint(endpoint) and endpoint.is_updating:
        return HttpResponse(status=204)
    if not endpoint.is_updating:
        _announce(request, endpoint)
    return state_fragment(request, endpoint)


@signed_in
@require_GET
def endpoint_logs(request: PageRequest, name: str) -> HttpResponse:
    """The tab Logs alone, which is fetched again while an update runs. 404 for an endpoint without models of one's own."""
    endpoint = get_endpoint(request, name)
    if endpoint.kind != Kind.OWN_MODEL:
        raise Http404
    context = {"logs": logs_of(endpoint, request.GET), "live": endpoint.is_updating}
    return fragment(request, "endpoints/tab_logs.html#logs", context)


def state_fragment(request: PageRequest, endpoint: Endpoint) -> HttpResponse:
    """The polled section with the update's buttons; an htmx event makes the list of events reload."""
    context = state_context(request, endpoint) | {"out_of_band": True}
    response = fragment(request, "endpoints/detail.html#live", context)
    return trigger_client_event(response, "endpoint-changed")


def detail_page(request: PageRequest, endpoint: Endpoint, *, status: int = 200, **extra: Any) -> HttpResponse:
    """The page of an endpoint. `extra` is context for a form of a tab that was refused."""
    tab = extra.pop("tab", request.GET.get("tab", ""))
    has_logs = endpoint.kind == Kind.OWN_MODEL
    tab = tab if tab in TABS and (tab != "logs" or has_logs) else "events"
    context = state_context(request, endpoint) | {
        "tab": tab,
        "has_logs": has_logs,
        "url": f"{public_url(request)}/serving-endpoints/{endpoint.name}/invocations",
        "task": task_label(endpoint.task),
        **_governance(endpoint),
        "usage": detail.usage_of_last_day(endpoint, clock.now()),
        **_tab(request, endpoint, tab),
        **extra,
    }
    return render(request, "endpoints/detail.html", context, status=status)


def _governance(endpoint: Endpoint) -> dict[str, Any]:
    limits = detail.rate_limits(endpoint)
    return {
        "limits": limits,
        "redis_is_down": bool(limits) and gateways.is_redis_down(),
        "settings": detail.settings(endpoint),
    }


def state_context(request: PageRequest, endpoint: Endpoint) -> dict[str, Any]:
    """The context of the state and config sections."""
    wanted = request.GET.get("config", "")
    failed = detail.other_version(endpoint) if endpoint.config_update == Update.UPDATE_FAILED else None
    return {
        "endpoint": endpoint,
        "rights": detail.rights(endpoint),
        "badge": state.of_endpoint(endpoint),
        "config": detail.config_view(endpoint, wanted),
        "config_wanted": wanted if wanted in ("active", "pending") else "",
        "failed": failed,
        "secrets": detail.secrets(endpoint, request.user),
        "foundation": model_of(endpoint=endpoint),
        "can_retry": detail.other_version(endpoint) is not None and not endpoint.is_updating,
        **detail.running(endpoint),
        "live": endpoint.is_updating,
        "interval": detail.poll_interval(endpoint, clock.now()),
        "fingerprint": detail.state_fingerprint(endpoint),
    }


def _tab(request: PageRequest, endpoint: Endpoint, tab: str) -> dict[str, Any]:
    here = {"at": reverse("endpoint-detail", args=[endpoint.name]), "tab": tab}
    if tab == "events":
        events = queries.events(endpoint=endpoint)
        order = ("-at", "-pk")
        return {
            "list_page": list_page(
                request, events, order=order, key=lambda row: (row.at, row.pk), size=ROWS, **here
            )
        }
    if tab == "versions":
        versions = queries.versions(endpoint=endpoint)
        shown = list_page(
            request, versions, order=("-number",), key=lambda row: (row.number,), size=ROWS, **here
        )
        badges = [{"row": each, "badge": state.of_version(each)} for each in shown.rows]
        return {"list_page": shown, "versions": badges}
    if tab == "logs":
        return {"logs": logs_of(endpoint, request.GET)}
    words = {
        Level.CAN_VIEW: _("Can view"),
        Level.CAN_QUERY: _("Can query"),
        Level.CAN_MANAGE: _("Can manage"),
    }
    found = queries.grants(endpoint=endpoint)
    return {
        "grants": [
            {"name": str(each.user or each.group), "level": words[Level(each.level)]} for each in found
        ],
        "levels": [(level.name, words[level]) for level in LEVELS],
    }


def _announce(request: PageRequest, endpoint: Endpoint) -> None:
    """Adds a message on how the update ended, for the live region; the polled section is none."""
    label = state.of_endpoint(endpoint).label
    text = _("Serving endpoint state: %(state)s.") % {"state": label}
    if endpoint.config_update == Update.UPDATE_FAILED:
        messages.error(request, text)
    elif endpoint.config_update == Update.UPDATE_CANCELED:
        messages.warning(request, text)
    else:
        messages.success(request, text)
