"""Several served entities in one form: one is open and has inputs, the others are JSON in one hidden input.

The JSON contains the typed values without validation; pasted keys are encrypted in it, as everywhere in a draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving_ui.lib import json_text

PACKED, AT = "other_entities", "entity_at"
ORIGIN, TRAFFIC = "entity_origin", "traffic"
MAX_ENTITIES = 10
_MAX_PACKED_LENGTH = 200_000

Answers = dict[str, str]


@dataclass
class Entities:
    """The values of the entities that are not open, in order and by input name, and the index `at` of the open one."""

    others: list[Answers] = field(default_factory=list)
    at: int = 0

    @classmethod
    def from_form(cls, post: Mapping[str, str], known: frozenset[str]) -> Entities:
        """Reads the hidden input. Unknown names and values that are not text are ignored; an unreadable input means no others."""
        others: list[Answers] = []
        try:
            found = json_text.read(
                (post.get(PACKED, "")[:_MAX_PACKED_LENGTH] or "[]").encode(), json_text.REQUEST_BOUNDS
            )
            at = int(post.get(AT, "0")[:3])
        except ValueError:
            return cls()
        for packed in found if isinstance(found, list) else []:
            if isinstance(packed, dict) and len(others) < MAX_ENTITIES - 1:
                others.append(
                    {name: text for name, text in packed.items() if name in known and isinstance(text, str)}
                )
        made = cls(others, min(max(at, 0), len(others)))
        for place, packed in enumerate(made.all_in_order({})):
            if f"{TRAFFIC}-{place}" in post and place != made.at:
                packed[TRAFFIC] = post[f"{TRAFFIC}-{place}"]
        return made

    @property
    def count(self) -> int:
        return len(self.others) + 1

    @property
    def packed(self) -> str:
        return json_text.write(self.others).decode()

    def all_in_order(self, opened: Answers) -> list[Answers]:
        """The values of all entities in order, with `opened` as those of the open one."""
        return [*self.others[: self.at], opened, *self.others[self.at :]]

    def open(self, place: int, opened: Answers) -> Answers:
        """Closes the open entity and opens the one at `place`. Returns its values."""
        everything = self.all_in_order(opened)
        chosen = everything.pop(place)
        self.others, self.at = everything, place
        return chosen

    def add(self, opened: Answers) -> Answers:
        """Adds an empty entity at the end and opens it. Returns its values (none)."""
        self.others, self.at = self.all_in_order(opened), self.count
        return {}

    def remove(self, place: int, opened: Answers) -> Answers:
        """Removes an entity; if it was the open one, opens the next or the last. Returns the values of the open entity."""
        everything = self.all_in_order(opened)
        if place == self.at:
            del everything[place]
            self.at = min(place, len(everything) - 1)
        else:
            del everything[place]
            self.at -= place < self.at
        chosen = everything.pop(self.at)
        self.others = everything
        return chosen
