"""Foundation models as cards and rows show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving_ui.model_hosts.models import FoundationModel
from serving_ui.pages.presenters import state
from serving_ui.pages.presenters.listing import task_label


@dataclass(frozen=True)
class ModelRow:
    """One foundation model. `name` is that of its endpoint, `title` that of the model."""

    name: str
    title: str
    task: str
    host: str
    badge: state.Badge
    url: str


def rows(models: Iterable[FoundationModel], *, base: str) -> list[ModelRow]:
    """Needs host and endpoint fetched already. `base` is the address of this server."""
    return [
        ModelRow(
            name=model.endpoint.name,
            title=model.display_name,
            task=task_label(model.task),
            host=model.host.name,
            badge=state.of_endpoint(model.endpoint),
            url=f"{base}/serving-endpoints/{model.endpoint.name}/invocations",
        )
        for model in models
    ]
