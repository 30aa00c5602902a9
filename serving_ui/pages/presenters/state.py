"""States as icon + word. The colour only repeats what the word says."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from serving_ui.endpoints.lifecycle import NEW, Ready, Unready, Update
from serving_ui.endpoints.models import ConfigVersion, Endpoint

Outcome = ConfigVersion.Outcome


@dataclass(frozen=True)
class Badge:
    """An icon of the sprite, a tone (good, busy, bad, still) and a word."""

    icon: str
    tone: str
    label: str


GOOD, BUSY, BAD, STILL = ("check", "good"), ("ring", "busy"), ("cross", "bad"), ("stop", "still")

_ENDPOINT = {
    (Ready.READY, Update.NOT_UPDATING): (GOOD, gettext_noop("Ready")),
    (Ready.READY, Update.IN_PROGRESS): (BUSY, gettext_noop("Ready (Updating)")),
    (Ready.READY, Update.UPDATE_FAILED): (BAD, gettext_noop("Ready (Update failed)")),
    (Ready.READY, Update.UPDATE_CANCELED): (STILL, gettext_noop("Ready (Update canceled)")),
    (Ready.NOT_READY, Update.NOT_UPDATING): (STILL, gettext_noop("Not ready")),
    (Ready.NOT_READY, Update.IN_PROGRESS): (BUSY, gettext_noop("Not ready (Updating)")),
    (Ready.NOT_READY, Update.UPDATE_FAILED): (BAD, gettext_noop("Not ready (Update failed)")),
    (Ready.NOT_READY, Update.UPDATE_CANCELED): (STILL, gettext_noop("Not ready (Update canceled)")),
}
_ENTITY = {
    Outcome.PENDING: (BUSY, gettext_noop("Creating")),
    Outcome.ACTIVE: (GOOD, gettext_noop("Ready")),
    Outcome.REPLACED: (STILL, gettext_noop("Replaced")),
    Outcome.FAILED: (BAD, gettext_noop("Failed")),
    Outcome.CANCELED: (STILL, gettext_noop("Aborted")),
}
_VERSION = {
    **_ENTITY,
    Outcome.PENDING: (BUSY, gettext_noop("Pending")),
    Outcome.ACTIVE: (GOOD, gettext_noop("Active")),
    Outcome.CANCELED: (STILL, gettext_noop("Canceled")),
}


def of_endpoint(endpoint: Endpoint) -> Badge:
    """The serving endpoint state."""
    if endpoint.unready_because == Unready.STOPPED and endpoint.state == NEW and endpoint.active:
        return Badge(*STILL, _("Not ready (Stopped)"))
    (icon, tone), word = _ENDPOINT[endpoint.state]
    return Badge(icon, tone, _(word))


def of_entity(version: ConfigVersion, ready: Ready = Ready.READY) -> Badge:
    """The state of a config's served entities, of an endpoint that is `ready`."""
    if version.outcome == Outcome.ACTIVE and ready == Ready.NOT_READY:
        return Badge(*STILL, _("Not ready"))
    (icon, tone), word = _ENTITY[Outcome(version.outcome)]
    return Badge(icon, tone, _(word))


def of_version(version: ConfigVersion) -> Badge:
    """The outcome of a config version."""
    (icon, tone), word = _VERSION[Outcome(version.outcome)]
    return Badge(icon, tone, _(word))
