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
    """The values of the entities that are not open, in order and by input name, and the index of the open one."""

    others: list[Answers] = field(default_factory=list)
    open_index: int = 0

    @classmethod
    def from_form(cls, post: Mapping[str, str], known: frozenset[str]) -> Entities:
        """Reads the hidden input. Unknown names and values that are not text are ignored; an unreadable input means no others."""
        others: list[Answers] = []
        try:
            found = json_text.read(
                (post.get(PACKED, "")[:_MAX_PACKED_LENGTH] or "[]").encode(), json_text.REQUEST_BOUNDS
            )
            open_index = int(post.get(AT, "0")[:3])
        except ValueError:
            return cls()
        for packed in found if isinstance(found, list) else []:
            if isinstance(packed, dict) and len(others) < MAX_ENTITIES - 1:
                others.append(
                    {name: text for name, text in packed.items() if name in known and isinstance(text, str)}
                )
        made = cls(others, min(max(open_index, 0), len(others)))
        for index, packed in enumerate(made.all_in_order({})):
            if f"{TRAFFIC}-{index}" in post and index != made.open_index:
                packed[TRAFFIC] = post[f"{TRAFFIC}-{index}"]
        return made

    @property
    def count(self) -> int:
        return len(self.others) + 1

    @property
    def packed(self) -> str:
        return json_text.write(self.others).decode()

    def all_in_order(self, open_values: Answers) -> list[Answers]:
        """The values of all entities in order, with `open_values` as those of the open one."""
        return [*self.others[: self.open_index], open_values, *self.others[self.open_index :]]

    def open(self, index: int, open_values: Answers) -> Answers:
        """Closes the open entity and opens the one at `index`. Returns its values."""
        everything = self.all_in_order(open_values)
        chosen = everything.pop(index)
        self.others, self.open_index = everything, index
        return chosen

    def add(self, open_values: Answers) -> Answers:
        """Adds an empty entity at the end and opens it. Returns its values (none)."""
        self.others, self.open_index = self.all_in_order(open_values), self.count
        return {}

    def remove(self, index: int, open_values: Answers) -> Answers:
        """Removes an entity; if it was the open one, opens the next or the last. Returns the values of the open entity."""
        everything = self.all_in_order(open_values)
        if index == self.open_index:
            del everything[index]
            self.open_index = min(index, len(everything) - 1)
        else:
            del everything[index]
            self.open_index -= index < self.open_index
        chosen = everything.pop(self.open_index)
        self.others = everything
        return chosen
