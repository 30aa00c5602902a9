"""Changes that others committed while a form was open, with the config fields that differ from the opened version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from serving_ui.catalogue.spec import differences
from serving_ui.endpoints.models import ConfigVersion, EndpointEvent
from serving_ui.pages.translation import translate


@dataclass(frozen=True)
class Change:
    """One change of another person."""

    at: datetime
    sentence: str
    fields: list[str]


def since(
    opened: ConfigVersion | None, *, events: Iterable[EndpointEvent], versions: Iterable[ConfigVersion]
) -> list[Change]:
    """The events as changes, oldest first; one that submitted a config names what differs in it from `opened`."""
    by_number = {version.number: version for version in versions}
    changes = []
    for event in events:
        submitted = by_number.get(event.params.get("version", 0))
        differing = differences(opened.config, submitted.config) if submitted and opened else []
        changes.append(Change(event.at, event.sentence, [translate(label) for label in differing]))
    return changes
