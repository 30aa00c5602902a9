"""What an endpoint's page shows: configs, secrets, usage, limits, and the polling interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from serving_ui.accounts.models import User
from serving_ui.catalogue.endpoint_settings import Timeouts
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS
from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints import cluster, limits
from serving_ui.endpoints.lifecycle import Ready, Update
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Action, allows
from serving_ui.endpoints.takeover import secret_problems
from serving_ui.pages.forms import own_model
from serving_ui.pages.presenters import state
from serving_ui.pages.presenters.listing import provider_label, task_label
from serving_ui.pages.translation import translate
from serving_ui.usage import queries as usage

Outcome = ConfigVersion.Outcome
_HEADINGS = {
    Outcome.PENDING: lambda: _("Pending configuration"),
    Outcome.FAILED: lambda: _("Failed configuration"),
    Outcome.CANCELED: lambda: _("Canceled configuration"),
}
_WORDS = {
    Outcome.PENDING: lambda: _("Pending"),
    Outcome.FAILED: lambda: _("Failed"),
    Outcome.CANCELED: lambda: _("Canceled"),
}


@dataclass(frozen=True)
class EntityRow:
    """A served entity in the table of a config."""

    model: str
    provider: str
    name: str
    task: str
    badge: state.Badge
    traffic: int
    compute: str = ""
    """Of a model of one's own."""
    is_scaled_to_zero: bool = False


@dataclass(frozen=True)
class Choice:
    """One of the links that switch between the active and the other config."""

    key: str
    label: str
    is_current: bool
    is_moving: bool


@dataclass(frozen=True)
class ConfigView:
    """The displayed config."""

    heading: str
    key: str
    number: int
    rows: list[EntityRow]
    choices: list[Choice]
    is_own: bool


def other_version(endpoint: Endpoint) -> ConfigVersion | None:
    """The config beside the active one: pending, or the last one if it failed or was cancelled."""
    if endpoint.pending:
        return endpoint.pending
    if (
        endpoint.config_update in (Update.UPDATE_FAILED, Update.UPDATE_CANCELED)
        and endpoint.latest != endpoint.active
    ):
        return endpoint.latest
    return None


def config_view(endpoint: Endpoint, wanted: str) -> ConfigView | None:
    """The config asked for (`active` or `pending`); by default the pending one while an update runs, else the active."""
    other = other_version(endpoint)
    if wanted not in ("active", "pending"):
        wanted = "pending" if endpoint.pending else "active"
    version = (other if wanted == "pending" else endpoint.active) or endpoint.active or other
    if version is None:
        return None
    is_active = version == endpoint.active
    key = "active" if is_active else "pending"
    choices = []
    if endpoint.active and other:
        word = _WORDS[Outcome(other.outcome)]()
        moving = other.outcome == Outcome.PENDING
        choices = [
            Choice("active", _("Active"), is_active, False),
            Choice("pending", word, not is_active, moving),
        ]
    heading = _("Active configuration") if is_active else _HEADINGS[Outcome(version.outcome)]()
    rows = entity_rows(version, Ready(endpoint.ready))
    return ConfigView(heading, key, version.number, rows, choices, endpoint.kind == Kind.OWN_MODEL)


def entity_rows(version: ConfigVersion, ready: Ready) -> list[EntityRow]:
    """The served entities of a config, with their share of traffic."""
    share = {r.served_entity_name: r.traffic_percentage for r in version.config.traffic_config.routes}
    badge, asleep = state.of_entity(version, ready), cluster.scaled_to_zero(version)
    return [
        EntityRow(
            model=entity.model_name,
            provider=provider_label(entity),
            name=entity.name,
            task=task_label(entity.task or ""),
            badge=badge,
            traffic=share.get(entity.name, 0),
            compute=own_model.compute_of(entity.own_model) if entity.own_model else "",
            is_scaled_to_zero=entity.name in asleep,
        )
        for entity in version.config.served_entities
    ]


@dataclass(frozen=True)
class Secrets:
    """The problems of an endpoint's secrets."""

    not_sent: list[str]
    """A sentence for each reason why a secret is not sent and the endpoint is therefore not ready."""
    still_sent: list[str]
    """Sentences on secrets that are still sent, but that somebody should take over."""
    may_take_over: bool


def secrets(endpoint: Endpoint, actor: User) -> Secrets | None:
    """Sentences on the secrets that somebody must take over or replace. No query if the config refers to none."""
    versions = [version for version in (endpoint.active, endpoint.pending) if version]
    if not any(
        each.kind == "reference" for version in versions for each in version.config.secrets().values()
    ):
        return None
    found = secret_problems(endpoint=endpoint, actor=actor)
    if not found:
        return None
    return Secrets(
        not_sent=list(dict.fromkeys(each.sentence for each in found if not each.is_served)),
        still_sent=list(dict.fromkeys(each.sentence for each in found if each.is_served)),
        may_take_over=allows(endpoint.level, Action.MANAGE) and any(each.may_take_over for each in found),
    )


def running(endpoint: Endpoint) -> dict[str, bool]:
    """Whether the endpoint can be stopped, or started again."""
    is_settled = endpoint.kind == Kind.OWN_MODEL and endpoint.active is not None and not endpoint.is_updating
    return {
        "can_stop": is_settled and not endpoint.is_stopped,
        "can_start": is_settled and endpoint.is_stopped,
    }


def poll_interval(endpoint: Endpoint, now: datetime) -> str:
    """The polling interval: one second in the first minute of an update, then longer."""
    since = (now - endpoint.pending.created_at).total_seconds() if endpoint.pending else 0
    return "1s" if since < 60 else "3s" if since < 600 else "10s"


def state_fingerprint(endpoint: Endpoint) -> str:
    """A value that changes whenever the state fragment does; a poll sends it as `?v=`."""
    progress = endpoint.pending.message if endpoint.pending else ""
    return f"{endpoint.generation}-{crc32(progress.encode()):x}"


def usage_of_last_day(endpoint: Endpoint, now: datetime) -> str:
    """Requests of the last 24 hours, in one line. A response that was cut short counts as an error, whatever its status."""
    sums = usage.sums_since(now - timedelta(days=1), endpoint_id=endpoint.id)
    if not sums["requests"]:
        return _("No requests")
    refused, left = sums["limited"], sums["client_left"]
    errors = sums["errors_4xx"] + sums["errors_5xx"] + sums["truncated"] - refused - left
    tokens = sums["tokens_in"] + sums["tokens_out"]
    parts = [
        ngettext("%(number)s request", "%(number)s requests", sums["requests"]) % _number(sums["requests"]),
        ngettext("%(number)s error", "%(number)s errors", errors) % _number(errors),
        *([_("%(number)s refused by limits") % _number(refused)] if refused else []),
        *([_("%(number)s disconnected by the caller") % _number(left)] if left else []),
        ngettext("%(number)s token", "%(number)s tokens", tokens) % _number(tokens),
    ]
    return ", ".join(parts)


def _number(value: int) -> dict[str, str]:
    return {"number": f"{value:,}"}


def rate_limits(endpoint: Endpoint) -> list[str]:
    """A line for each limit, of calls before tokens."""
    names = limits.names_of(limits.principals(endpoint))
    return [
        (translate(unit.amount) + _scope(limit) + _principal_note(limit, names))
        % {"limit": f"{limit[name]:,}", "name": limit.get("principal")}
        for limit in limits.stored(endpoint)
        for name, unit in LIMIT_UNITS.items()
        if limit.get(name) is not None
    ]


def _scope(limit: Mapping[str, Any]) -> str:
    key = LIMIT_KEYS[limit["key"]]
    words = key.of_one if limit.get("principal") else key.of_each
    return f" {translate(words)}" if words else ""


def _principal_note(limit: Mapping[str, Any], names: limits.Names) -> str:
    """A note on the principal of a limit if it was renamed or deleted."""
    if limits.is_lapsed(limit, names):
        return " " + _("(has no effect: the %(name)s that it was set for no longer exists)")
    now = names.get(limit.get("principal_id") or "")
    if now is None or now.lower() == limit["principal"].lower():
        return ""
    return " " + _("(now named %(now)s)") % {"now": now.replace("%", "%%")}


def settings(endpoint: Endpoint) -> list[tuple[str, str]]:
    """(label, value) of each further setting."""
    facts = [(_("Timeouts:"), _timeouts(endpoint))]
    version = endpoint.shown_version
    if version and len(version.config.served_entities) > 1:
        facts.append((_("Fallback:"), _fallback(endpoint)))
    return facts


def _timeouts(endpoint: Endpoint) -> str:
    line = _("%(connect)s s to connect, %(first_byte)s s to the first byte, %(total)s s in total")
    effective = Timeouts.model_validate(endpoint.timeouts).effective()
    return line % {name: f"{seconds:g}" for name, seconds in effective.items()}


def _fallback(endpoint: Endpoint) -> str:
    if endpoint.ai_gateway.get("fallback_config", {}).get("enabled"):
        return _("On: up to two further entities, in the order below")
    return _("Off")


@dataclass(frozen=True)
class Rights:
    """What the user may do, so that the page shows only allowed buttons. The commands check the rights again."""

    manage: bool
    query: bool
    configure: bool
    """Whether the config may be changed too; that of a foundation model follows its host."""


def rights(endpoint: Endpoint) -> Rights:
    manages = allows(endpoint.level, Action.MANAGE)
    is_foundation = endpoint.kind == Kind.FOUNDATION_MODEL
    return Rights(manages, allows(endpoint.level, Action.QUERY), manages and not is_foundation)
