"""The rows of the list page and its pager."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2s
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from serving_ui.catalogue.served_entity import ServedEntity
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints.models import Endpoint
from serving_ui.pages.presenters import state
from serving_ui.pages.translation import translate


@dataclass(frozen=True)
class ServedModel:
    """Provider and model of one served entity."""

    provider: str
    model: str


@dataclass(frozen=True)
class ListRow:
    """One endpoint of the list."""

    name: str
    badge: state.Badge
    served: list[ServedModel]
    tags: list[dict[str, str]]
    task: str
    creator: str
    modified_at: datetime


@dataclass(frozen=True)
class PagerItem:
    """A link to a page, or a gap between links if `number` is None."""

    number: int | None
    query: str = ""
    is_current: bool = False


@dataclass(frozen=True)
class Pager:
    """The numbered pages below a table."""

    pages: int
    items: list[PagerItem]


def task_label(task: str) -> str:
    """Chat, Completions or Embeddings."""
    return translate(Task(task).label) if task else ""


def served_models(endpoint: Endpoint) -> list[ServedModel]:
    """The served entities of `Endpoint.shown_version`."""
    version = endpoint.shown_version
    entities = version.config.served_entities if version else []
    return [ServedModel(provider_label(entity), entity.model_name) for entity in entities]


def provider_label(entity: ServedEntity) -> str:
    """Who runs the model: a provider, or for an own model this server, with the model's version."""
    if entity.own_model:
        return _("Version %(version)s") % {"version": entity.own_model.entity_version}
    if entity.foundation_model:
        return _("Foundation model")
    return translate(entity.external.provider_entry.label)


def row(endpoint: Endpoint) -> ListRow:
    """An endpoint as the list shows it. Needs creator and configs fetched already."""
    return ListRow(
        name=endpoint.name,
        badge=state.of_endpoint(endpoint),
        served=served_models(endpoint),
        tags=endpoint.tags,
        task=task_label(endpoint.task),
        creator=endpoint.creator.email if endpoint.creator else "",
        modified_at=endpoint.modified_at,
    )


def fingerprint(endpoints: Iterable[Endpoint]) -> str:
    """A digest of ids and generations, by which a poll of an unchanged list is answered with 204."""
    text = ",".join(f"{each.pk}.{each.generation}" for each in endpoints)
    return blake2s(text.encode(), digest_size=8).hexdigest()


def pager(page: int, pages: int, filters: dict[str, str]) -> Pager:
    """Links to the first page, the last page and up to two pages on either side of the current one."""
    near = sorted({1, pages, *range(max(1, page - 2), min(pages, page + 2) + 1)})
    items: list[PagerItem] = []
    for before, number in zip([0, *near], near, strict=False):
        if number - before > 1:
            items.append(PagerItem(None))
        items.append(PagerItem(number, urlencode({**filters, "page": number}), number == page))
    return Pager(pages, items)
