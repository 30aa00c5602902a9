"""The card of the models on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from serving_ui.local_model.files import ModelStatus, Phase
from serving_ui.local_model.weights import host_name
from serving_ui.model_hosts import local_models
from serving_ui.pages.presenters.state import BAD, BUSY, GOOD, STILL, Badge

INSTALLED_MEGABYTES = 620
"""What an installation writes: the packages as they are downloaded, and unpacked."""


@dataclass(frozen=True)
class LocalModelRow:
    name: str
    badge: Badge
    problem: str


@dataclass(frozen=True)
class LocalModelsCard:
    badge: Badge | None
    """None before the first start."""
    can_start: bool
    can_stop: bool
    is_live: bool
    """It changes by itself."""
    percent: int | None
    problem: str
    models: tuple[LocalModelRow, ...]


def card() -> LocalModelsCard | None:
    """None where nobody would start the models."""
    found = local_models.current()
    if found is None:
        return None
    status = found.status
    if not found.is_wanted:
        badge = Badge(*STILL, _("Stopped")) if not found.is_settled else None
        return LocalModelsCard(badge, found.is_settled, False, not found.is_settled, None, "", ())
    is_failed = status.phase == Phase.FAILED
    return LocalModelsCard(
        badge=_badge(status.phase),
        can_start=is_failed,
        can_stop=True,
        is_live=not is_failed and not found.is_settled,
        percent=min(99, 100 * status.megabytes // INSTALLED_MEGABYTES)
        if status.phase == Phase.INSTALLING
        else None,
        problem=status.message,
        models=tuple(_row(each, is_taken=each.name in found.taken) for each in status.models),
    )


def _badge(phase: Phase) -> Badge:
    badges = {
        Phase.STOPPED: Badge(*BUSY, _("Starting")),
        Phase.INSTALLING: Badge(*BUSY, _("Installing")),
        Phase.STARTING: Badge(*BUSY, _("Starting")),
        Phase.RUNNING: Badge(*GOOD, _("Running")),
        Phase.FAILED: Badge(*BAD, _("Failed")),
    }
    return badges[phase]


def _row(model: ModelStatus, *, is_taken: bool) -> LocalModelRow:
    if is_taken:
        sentence = _(
            "It runs, but a model host named %(host)s exists already. Delete that one, and this model is listed within seconds."
        )
        return LocalModelRow(
            model.name, Badge(*BAD, _("Not listed")), sentence % {"host": host_name(model.name)}
        )
    if model.is_ready:
        return LocalModelRow(model.name, Badge(*GOOD, _("Running")), "")
    problem = " ".join(part for part in (model.message, model.last_output) if part)
    return LocalModelRow(
        model.name,
        Badge(*(BAD if problem else BUSY), _("Not running") if problem else _("Starting")),
        problem,
    )
